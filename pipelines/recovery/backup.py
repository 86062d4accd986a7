"""Back up what a team cannot make again: Git, what DVC keeps for branches and tags, releases, and what ran where.

make backup

Only what is new is copied, each file under its hash and checked on the way; a backup is there once all of it is.
Then backups are deleted that `backup.keep` in delivery.yaml lets go, never one that holds a release which runs.
`--metrics` names the file that tells Prometheus's node exporter of the last success.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pipelines.command import PipelineError, run
from pipelines.delivery import environments, settings
from pipelines.delivery.preconditions import MAIN
from pipelines.delivery.settings import Settings
from pipelines.recovery import data, metrics, releases, repository, retention, snapshots
from pipelines.recovery.copying import Copier, file_entry, opened
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
    with repository.mirror() as bare, Copier(place) as copier:
        references = repository.references(bare)
        git_entry = _git(bare, references, last, copier)
        entries = _data(references, last, copier)
        found, refused = releases.collect(chosen, last, copier)
        copier.wait()
        snapshot = Snapshot(
            time=datetime.now(UTC),
            folder=git_repository.folder(),
            references=references,
            environments=environments.running(references[f"refs/heads/{MAIN}"]),
            git=git_entry,
            data=entries,
            releases=found,
        )
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
    entry = file_entry(GIT, bundle)
    copier.copy(entry, partial(opened, bundle))
    return entry


def _data(references: dict[str, str], last: Snapshot | None, copier: Copier) -> list[Entry]:
    source = Source()
    known = {entry.path: entry for entry in last.data if copier.has(entry)} if last else {}
    commits = {commit for each in references.values() if (commit := git_repository.commit(each))}
    values = source.hashes(commits)
    new = [source.entry(value) for value in sorted(values) if data.path(value) not in known]
    for entry in new:
        copier.copy(entry, partial(source.open, entry))
    copier.wait()
    return sorted([*new, *(known[name] for name in map(data.path, values) if name in known)])


if __name__ == "__main__":
    run(main)
