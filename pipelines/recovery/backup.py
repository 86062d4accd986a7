"""Back up what a team cannot make again: Git, what DVC keeps for branches and tags, releases, and what ran where.

make backup

Only what is new is copied, each file under its hash and checked on the way; a backup is there once all of it is.
Then backups are deleted that `backup.keep` in delivery.yaml lets go, never one that holds a release which runs.
`--metrics` names the file that tells Prometheus's node exporter of the last success.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from model.manifest import sha256
from pipelines.command import PipelineError, run, warn
from pipelines.delivery import environments, settings, store
from pipelines.delivery.settings import Settings
from pipelines.recovery import data, metrics, repository, retention, snapshots
from pipelines.recovery.copying import Copier
from pipelines.recovery.data import Source
from pipelines.recovery.snapshots import OBJECTS, Entry, Snapshot
from pipelines.review import repository as git_repository
from pipelines.review.repository import git
from pipelines.s3 import Folder

GIT = "repository.bundle"
METRICS = Path("reports", "backup.prom")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", type=Path, default=METRICS, help="text file of metrics (default: %(default)s)")
    options = parser.parse_args()
    started = time.monotonic()
    chosen = settings.load()
    place = snapshots.place(chosen)
    made = backup(chosen, place)
    gone, unused = retention.retain(place, chosen.backup.keep)
    snapshot = made.snapshot
    held = f"{len(snapshot.entries):,} files, {snapshot.size:,} bytes, of which {made.copied:,} are new"
    print(f"backup {snapshot.name}: {held}; {gone} backups and {unused} files were let go")
    if made.refused:
        raise PipelineError(f"without {', '.join(made.refused)}: {'; '.join(made.refused.values())}")
    metrics.write(options.metrics, snapshot, made.copied, time.monotonic() - started, len(snapshots.names(place)))


@dataclass(frozen=True)
class Backup:
    snapshot: Snapshot
    copied: int
    """Bytes."""
    refused: dict[str, str]
    """Releases that do not hold, and why; what earlier backups have of them stays in this one."""


def backup(chosen: Settings, place: Folder) -> Backup:
    """Make a backup. Raises PipelineError; there is none then."""
    last = snapshots.newest(place)
    refused: dict[str, str] = {}
    with repository.mirror() as bare, Copier(place) as copier:
        references = repository.references(bare)
        snapshot = Snapshot(
            time=datetime.now(UTC),
            folder=git_repository.folder(),
            references=references,
            environments=environments.running(references[f"refs/heads/{repository.MAIN}"]),
            git=_git(bare, references, last, copier),
            data=_data(references, last, copier),
            releases=_releases(chosen, last, copier, refused),
        )
        copier.wait()
    there = (place / OBJECTS).objects()
    if lost := [entry.path for entry in snapshot.entries if entry.key not in there]:
        raise PipelineError(f"{lost[0]} and {len(lost) - 1} others were deleted meanwhile: run the same command again")
    snapshots.write(place, snapshot)
    return Backup(snapshot, copier.copied, refused)


def _git(bare: Path, references: dict[str, str], last: Snapshot | None, copier: Copier) -> Entry:
    if last and last.references == references and copier.has(last.git):
        return last.git
    bundle = bare / GIT
    git("-C", str(bare), "bundle", "create", "--quiet", str(bundle), "--all", "HEAD")
    entry = _file(GIT, bundle, copier)
    copier.wait()
    return entry


def _data(references: dict[str, str], last: Snapshot | None, copier: Copier) -> list[Entry]:
    source = Source()
    known = {entry.path: entry for entry in last.data if copier.has(entry)} if last else {}
    commits = {commit for each in references.values() if (commit := git_repository.commit(each))}
    values = source.hashes(commits)
    new = [source.entry(value) for value in sorted(values) if data.path(value) not in known]
    for entry in new:
        copier.copy(entry, partial(source.open, entry))
    return sorted([*new, *(known[name] for name in map(data.path, values) if name in known)])


def _releases(
    chosen: Settings, last: Snapshot | None, copier: Copier, refused: dict[str, str]
) -> dict[str, list[Entry]]:
    if chosen.releases is None:
        return {}
    folder, entries = store.releases(chosen), {}
    published = store.published(folder)
    for tag in published:
        known = last.releases.get(tag, []) if last else []
        tags = {name: each.tag for name, each in (folder / tag).objects().items()}
        if known and all(map(copier.has, known)) and {Path(each.path).name: each.tag for each in known} == tags:
            entries[tag] = known
            continue
        try:
            entries[tag] = _release(folder, tag, chosen, copier)
        except PipelineError as error:
            refused[tag] = str(error)
        if tag in refused or (known and _digests(known) != _digests(entries[tag])):
            refused.setdefault(tag, f"{folder / tag} is another release than backups have: find out who changed it")
            entries[tag] = known
    for tag in sorted((last.releases if last else {}).keys() - set(published)):
        warn(f"{tag} is gone from {folder}: only earlier backups have it")
    return {tag: found for tag, found in entries.items() if found}


def _release(folder: Folder, tag: str, chosen: Settings, copier: Copier) -> list[Entry]:
    with tempfile.TemporaryDirectory() as work:
        store.fetch(folder, tag, Path(work))
        store.verify(Path(work), tag, chosen)
        tags = {name: each.tag for name, each in (folder / tag).objects().items()}
        files = sorted(Path(work).iterdir())
        found = [_file(f"dist/{tag}/{file.name}", file, copier, tags[file.name]) for file in files]
        copier.wait()
    return found


def _digests(entries: list[Entry]) -> set[str]:
    return {entry.digest for entry in entries}


def _file(name: str, path: Path, copier: Copier, tag: str = "") -> Entry:
    entry = Entry(name, f"sha256:{sha256(path)}", path.stat().st_size, tag)
    copier.copy(entry, lambda: (path.open("rb"), str(path)))
    return entry


if __name__ == "__main__":
    run(main)
