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
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from model.manifest import sha256
from pipelines.command import PipelineError, run
from pipelines.delivery import environments, settings, store
from pipelines.delivery.settings import Settings
from pipelines.recovery import metrics, repository, retention, snapshots
from pipelines.recovery.copying import Copier
from pipelines.recovery.data import Source
from pipelines.recovery.snapshots import OBJECTS, Entry, Snapshot
from pipelines.review import repository as review_repository
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
    snapshot, copied = backup(chosen, place)
    gone, unused = retention.retain(place, chosen.backup.keep)
    metrics.write(options.metrics, snapshot, copied, time.monotonic() - started, len(snapshots.names(place)))
    held = f"{len(snapshot.entries):,} files, {snapshot.size:,} bytes, of which {copied:,} are new"
    print(f"backup {snapshot.name}: {held}; {gone} backups and {unused} files were let go")


def backup(chosen: Settings, place: Folder) -> tuple[Snapshot, int]:
    """Make a backup; return it, and how many bytes were copied for it. Raises PipelineError; there is none then."""
    last = snapshots.newest(place)
    with repository.mirror() as bare, tempfile.TemporaryDirectory() as work, Copier(place) as copier:
        references = repository.references(bare)
        snapshot = Snapshot(
            time=datetime.now(UTC),
            references=references,
            environments={name: environments.current(name) for name in environments.all_names()},
            git=_git(bare, references, last, Path(work), copier),
            data=_data(references, copier),
            releases=_releases(chosen, last, Path(work), copier),
        )
        copier.wait()
    there = (place / OBJECTS).objects()
    if lost := [entry.path for entry in snapshot.entries if entry.key not in there]:
        raise PipelineError(f"{lost[0]} and {len(lost) - 1} others were deleted meanwhile: run the same command again")
    snapshots.write(place, snapshot)
    return snapshot, copier.copied


def _git(bare: Path, references: dict[str, str], last: Snapshot | None, work: Path, copier: Copier) -> Entry:
    if last and last.references == references:
        return last.git
    bundle = work / GIT
    git("-C", str(bare), "bundle", "create", "--quiet", str(bundle), "--all", "HEAD")
    return _file(GIT, bundle, copier)


def _data(references: dict[str, str], copier: Copier) -> list[Entry]:
    source = Source()
    commits = {commit for each in references.values() if (commit := review_repository.commit(each))}
    entries = sorted(source.entry(value) for value in source.hashes(commits))
    for entry in entries:
        copier.copy(entry, partial(source.open, entry))
    return entries


def _releases(chosen: Settings, last: Snapshot | None, work: Path, copier: Copier) -> dict[str, list[Entry]]:
    if chosen.releases is None:
        return {}
    folder, entries = store.releases(chosen), {}
    for tag in store.published(folder):
        known = last.releases.get(tag, []) if last else []
        tags = {name: each.tag for name, each in (folder / tag).objects().items()}
        if known and {Path(each.path).name: each.tag for each in known} == tags:
            entries[tag] = known
            continue
        (work / tag).mkdir()
        store.fetch(folder, tag, work / tag)
        store.verify(work / tag, tag, chosen)
        files = sorted((work / tag).iterdir())
        entries[tag] = [_file(f"dist/{tag}/{file.name}", file, copier, tags[file.name]) for file in files]
        if known and {each.digest for each in known} != {each.digest for each in entries[tag]}:
            raise PipelineError(f"{folder / tag} is another release than backups have: find out who changed it")
    return entries


def _file(name: str, path: Path, copier: Copier, tag: str = "") -> Entry:
    entry = Entry(name, f"sha256:{sha256(path)}", path.stat().st_size, tag)
    copier.copy(entry, lambda: (path.open("rb"), str(path)))
    return entry


if __name__ == "__main__":
    run(main)
