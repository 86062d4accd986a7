"""The layouts most public image sets have, told from paths alone: `<label>/*` and `{train,test}/<label>/*`."""

from __future__ import annotations

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
        if is_ignored(path):
            return None
        *folder, _ = PurePosixPath(path).parts[len(self.root) :]
        return folder[-1], NAMES[folder[0]] if self.with_splits else None


def is_ignored(path: str) -> bool:
    """Tell hidden files, and files such as a README or a licence that lie outside of every label's folder."""
    parts = PurePosixPath(path).parts
    if any(part.startswith(".") or part in {"__MACOSX", "Thumbs.db"} for part in parts):
        return True
    return len(parts) == 1 and PurePosixPath(path).suffix.lower() not in IMAGE_SUFFIXES


def read(paths: Iterable[str]) -> Layout:
    """Work out the layout of a source. Raises PipelineError for an empty class or a path that fits no layout."""
    counts: Counter[Folder] = Counter()
    folders: set[Folder] = set()
    for path in paths:
        if is_ignored(path.rstrip("/")) and not path.endswith("/"):
            continue
        parts = PurePosixPath(path).parts
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        if path.endswith("/"):
            folders.add(parts)
        else:
            counts[parts[:-1]] += 1
    if not counts:
        raise PipelineError(f"no images: {EXPECTED}")
    root = _shared_root(counts)
    inner = {folder[len(root) :]: count for folder, count in counts.items()}
    with_splits = all(len(folder) == 2 and folder[0] in NAMES for folder in inner)
    if not with_splits:
        _check_depth(inner, root)
    leaves = {folder[len(root) :] for folder in folders if len(folder) == len(root) + 1 + with_splits}
    for folder in sorted(leaves):
        if folder not in inner:
            raise PipelineError(
                f"class {folder[-1]!r} is empty: put images into {'/'.join(root + folder)}/ or remove it"
            )
    return Layout(root, with_splits, sum(inner.values()), frozenset(folder[-1] for folder in inner))


def _shared_root(folders: Iterable[Folder]) -> Folder:
    root: Folder = ()
    remaining = list(folders)
    while all(len(folder) > 1 for folder in remaining) and len({folder[0] for folder in remaining}) == 1:
        if remaining[0][0] in NAMES:
            break
        root += remaining[0][:1]
        remaining = [folder[1:] for folder in remaining]
    return root


def _check_depth(folders: Iterable[Folder], root: Folder) -> None:
    for folder in sorted(folders):
        if len(folder) != 1:
            where = "/".join(root + folder) + "/" if root + folder else "the top folder"
            raise PipelineError(f"images in {where}: {EXPECTED}")
