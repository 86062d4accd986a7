"""The layouts most public image sets have, told from paths alone: `<label>/*` and `{train,test}/<label>/*`."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines.command import PipelineError
from pipelines.training.split import NAMES

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}
EXPECTED = "expected <label>/<image>, or <label>/<image> inside train/, validation/ and test/"

Folder = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What a source's paths mean."""

    root: Folder
    """Leading folders that all images share, such as an archive's own."""
    with_splits: bool
    images: int
    labels: frozenset[str]

    def place(self, path: str) -> tuple[str, str | None] | None:
        """Return a file's label and split, or None for a file that is not an example."""
        *folder, _ = PurePosixPath(path).parts
        inner = tuple(folder[len(self.root) :])
        if (
            _is_hidden(path)
            or tuple(folder[: len(self.root)]) != self.root
            or not _fits(inner, with_splits=self.with_splits)
        ):
            return None
        return _label(inner), NAMES[inner[0].lower()] if self.with_splits else None


def read(paths: Iterable[str]) -> Layout:
    """Work out the layout of a source.

    Images tell it: other files count only inside a label's folder, where they are refused later, so that a README
    or a list of labels elsewhere does no harm. Raises PipelineError for an empty class or images that fit no layout.
    """
    images: Counter[Folder] = Counter()
    others: Counter[Folder] = Counter()
    folders: set[Folder] = set()
    for path in paths:
        if _is_hidden(path):
            continue
        parts = PurePosixPath(path).parts
        if path.endswith("/"):
            folders.add(parts)
        else:
            kind = images if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES else others
            kind[parts[:-1]] += 1
    if not images:
        raise PipelineError(f"no images: {EXPECTED}")
    root = _shared_root(images)
    with_splits = all(_fits(folder[len(root) :], with_splits=True) for folder in images)
    for folder in sorted(images):
        if not _fits(folder[len(root) :], with_splits=with_splits):
            raise PipelineError(f"images in {'/'.join(folder) or 'the top folder'}: {EXPECTED}")
    counts = images + others
    leaves = [
        folder
        for folder in sorted(folders | set(counts))
        if folder[: len(root)] == root and _fits(folder[len(root) :], with_splits=with_splits)
    ]
    for folder in leaves:
        if folder not in counts:
            where = "/".join(folder)
            raise PipelineError(f"class {folder[-1]!r} is empty: put images into {where}/ or remove it")
    labels = frozenset(_label(folder) for folder in leaves)
    return Layout(root, with_splits, sum(counts[folder] for folder in leaves), labels)


def _label(folder: Folder) -> str:
    try:
        folder[-1].encode()
    except UnicodeEncodeError:
        raise PipelineError(f"the folder name {folder[-1]!r} is not UTF-8: rename it") from None
    # Names of equal look may differ in bytes when they come from different systems.
    return unicodedata.normalize("NFC", folder[-1])


def _fits(folder: Folder, *, with_splits: bool) -> bool:
    return len(folder) == 2 and folder[0].lower() in NAMES if with_splits else len(folder) == 1


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part in {"__MACOSX", "Thumbs.db"} for part in PurePosixPath(path).parts)


def _shared_root(folders: Iterable[Folder]) -> Folder:
    root: Folder = ()
    remaining = list(folders)
    while all(len(folder) > 1 for folder in remaining) and len({folder[0] for folder in remaining}) == 1:
        if remaining[0][0].lower() in NAMES:
            break
        root += remaining[0][:1]
        remaining = [folder[1:] for folder in remaining]
    return root
