"""A release that can answer: found, verified, loaded, warmed up and checked before a request reaches it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model import ModelError, examples, inputs, manifest, statistics
from model.examples import Example
from model.manifest import MODEL, Manifest
from model.predictor import Predictor
from model.release import BUNDLE, unpack
from model.statistics import Reference
from serving.errors import ServingError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
MAX_BUNDLE = 2_000_000_000
"""Most bytes of a bundle that are unpacked."""
DEEPEST = 2
"""Folders that a manifest may lie in."""


class ReleaseError(ServingError):
    """The release is missing, damaged, not the one expected, or does not answer as a classifier does."""


@dataclass(frozen=True, eq=False)
class Release:
    """What answers. Its name is the manifest's version, or `dev-` and the start of the model's hash."""

    name: str
    manifest: Manifest
    predictor: Predictor
    labels: tuple[str, ...]
    reference: Reference | None = None

    @property
    def model_sha256(self) -> str:
        return self.manifest.files[MODEL]


def load(path: Path, public_key: Path | None = None, expected: str = "", max_batch: int = 1) -> Release:
    """Return the release of a folder or a bundle. Raises ReleaseError or SignatureError; nothing is left behind."""
    try:
        published = (path / BUNDLE).is_file()
        if published:
            _verify(path, public_key)
        with _folder(path) as folder:
            if not published:
                _verify(folder, public_key)
            described = manifest.load(folder)
            predictor = Predictor(folder / MODEL)
            reference = statistics.load(folder)
            known = examples.load(folder / examples.NAME) if (folder / examples.NAME).is_file() else []
    except (ModelError, OSError) as error:
        raise ReleaseError(str(error)) from error
    name = described.version or f"dev-{described.files[MODEL][:8]}"
    if not NAME.fullmatch(name):  # it goes into headers and addresses
        raise ReleaseError(f"{path}: version {name!r} is no name of a release")
    release = Release(name, described, predictor, tuple(described.labels), reference)
    if expected and release.name != expected:
        raise ReleaseError(f"{path} is release {release.name}, but RELEASE={expected}")
    _check(path, release, max_batch)
    _compare(path, release, known)
    return release


def _verify(folder: Path, public_key: Path | None) -> None:
    if public_key:
        from serving import signature  # noqa: PLC0415 (10 MB that few servers need)

        signature.verify(folder, public_key)


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """Give the folder with the manifest: the path, one of its folders, or the same in an unpacked bundle."""
    bundle = path / BUNDLE if path.is_dir() else path
    if bundle.is_file():
        with tempfile.TemporaryDirectory(prefix="slipway-") as unpacked:
            # The server's own packages, in folders below, are not needed.
            unpack(bundle, Path(unpacked), MAX_BUNDLE, DEEPEST)
            yield _find(path, Path(unpacked))
    elif path.is_dir():
        yield _find(path, path)
    else:
        raise ReleaseError(f"{path} is no folder and no bundle: `make` makes a model in artifacts/")


def _find(path: Path, folder: Path) -> Path:
    found = [*folder.glob(manifest.NAME)] or [*folder.glob(f"*/{manifest.NAME}"), *folder.glob(f"*/*/{manifest.NAME}")]
    if len(found) != 1:
        raise ReleaseError(f"{path} holds {len(found)} files {manifest.NAME}: expected one")
    return found[0].parent


def _check(path: Path, release: Release, max_batch: int) -> None:
    """Answer for blank images, which also warms up."""
    predictor = release.predictor
    if predictor.input_shape != release.manifest.input_shape or predictor.classes != len(release.labels):
        raise ReleaseError(f"{path}: the model's shapes are not those of its manifest")
    for count in {1, max_batch}:
        answers = predictor.predict(np.zeros((count, *predictor.input_shape), np.uint8))
        if not np.allclose(answers.sum(axis=1), 1, atol=0.05):
            raise ReleaseError(f"{path}: the model's answers are not probabilities")


def _compare(path: Path, release: Release, known: list[Example]) -> None:
    """Answer what evaluation answered: a library, a processor or a file may have changed since."""
    for number, example in enumerate(known):
        pixels = inputs.to_batch([example.png], release.predictor.input_shape)
        (answer,) = release.predictor.predict(pixels)
        best = int(answer.argmax())
        if wrong := example.differs(release.labels[best], float(answer[best])):
            raise ReleaseError(f"{path}: the model does not answer as when it was evaluated: example {number}: {wrong}")
