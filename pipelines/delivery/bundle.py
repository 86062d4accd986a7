"""A release's one archive, opened; pipelines/delivery/assembly.py puts it together, which takes many more packages."""

from __future__ import annotations

from pathlib import Path

from model import manifest
from model.release import unpack
from pipelines.command import PipelineError

MOST = 4_000_000_000
"""Bytes that a bundle may unpack to."""


def read(path: Path, tag: str, folder: Path) -> manifest.Manifest:
    """Unpack an archive into a folder and return its manifest. Raises PipelineError or ModelError."""
    unpack(path, folder, MOST)
    found = [each.name for each in folder.iterdir()]
    if found != [tag]:
        raise PipelineError(f"{path} holds {', '.join(found) or 'nothing'}, expected {tag}")
    described = manifest.load(folder / tag)
    if described.version != tag:
        raise PipelineError(f"{path} is release {described.version}, expected {tag}")
    return described
