"""The releases that a backup holds: copied once, when they hold, and noticed when they change or go."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from pipelines.command import PipelineError, warn
from pipelines.delivery import store
from pipelines.delivery.settings import Settings
from pipelines.recovery.copying import Copier, file_entry, opened
from pipelines.recovery.snapshots import Entry, Snapshot
from pipelines.s3 import Folder

Releases = dict[str, list[Entry]]


def collect(chosen: Settings, last: Snapshot | None, copier: Copier) -> tuple[Releases, dict[str, str]]:
    """Copy the releases that are new; return all, and why some were refused: of them the last backup's stay."""
    if chosen.releases is None:
        return {}, {}
    folder = store.releases(chosen)
    found: Releases = {}
    refused: dict[str, str] = {}
    earlier = last.releases if last else {}
    published = store.published(folder)
    for tag in published:
        known = earlier.get(tag, [])
        tags = {name: each.tag for name, each in (folder / tag).objects().items()}
        if known and all(map(copier.has, known)) and {Path(each.path).name: each.tag for each in known} == tags:
            found[tag] = known
            continue
        with tempfile.TemporaryDirectory() as work:
            try:
                entries = _read(folder, tag, chosen, known, Path(work))
            except PipelineError as error:
                refused[tag] = str(error)
                found |= {tag: known} if known else {}
                continue
            for entry in entries:
                copier.copy(entry, partial(opened, Path(work, Path(entry.path).name)))
            copier.wait()
        found[tag] = entries
    for tag in sorted(earlier.keys() - set(published)):
        warn(f"{tag} is gone from {folder}: only earlier backups have it")
    return found, refused


def _read(folder: Folder, tag: str, chosen: Settings, known: list[Entry], work: Path) -> list[Entry]:
    """Download a release. Raises PipelineError unless it holds, and is the one that is known."""
    tags = {name: each.tag for name, each in (folder / tag).objects().items()}
    store.fetch(folder, tag, work)
    store.verify(work, tag, chosen)
    entries = [file_entry(f"dist/{tag}/{path.name}", path, tags[path.name]) for path in sorted(work.iterdir())]
    if known and {each.digest for each in known} != {each.digest for each in entries}:
        raise PipelineError(f"{folder / tag} is another release than backups have: find out who changed it")
    return entries
