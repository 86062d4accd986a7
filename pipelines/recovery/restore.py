"""Bring a backup back: repository, DVC's files and releases, every file checked by its hash.

make restore INTO=../digits                                the newest backup
make restore INTO=../digits SNAPSHOT=20261123T041500Z      another
make restore INTO=../digits REFILL=yes                     and fill the first buckets, which must be there, again

The folder is a clone that needs no remote: its cache has all data. Releases are in its dist/. When there is no clone to
run this in, docs/releases.md says how to get one out of the backup.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.command import PipelineError, run
from pipelines.delivery import settings, store
from pipelines.delivery.settings import Settings
from pipelines.dvc import dvc, show
from pipelines.progress import bar
from pipelines.recovery import copying, repository, snapshots
from pipelines.recovery.copying import THREADS
from pipelines.recovery.snapshots import Entry, Snapshot
from pipelines.s3 import Folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("into", type=Path, help="a folder that is not there yet")
    parser.add_argument("--snapshot", help="name of the backup (default: the newest)")
    parser.add_argument("--refill", action="store_true", help="fill the DVC remote and the bucket of releases, too")
    options = parser.parse_args()
    chosen = settings.load()
    place = snapshots.place(chosen)
    snapshot = find(place, options.snapshot)
    restore(place, snapshot, options.into)
    print(f"backup {snapshot.name} is in {options.into}: {len(snapshot.entries):,} files, {snapshot.size:,} bytes")
    if options.refill:
        refill(options.into, snapshot, chosen)


def find(place: Folder, name: str | None) -> Snapshot:
    """Return a snapshot, the newest without a name. Raises PipelineError when there is none."""
    snapshot = snapshots.read(place, name) if name else snapshots.newest(place)
    if snapshot is None:
        raise PipelineError(f"{place} has no backup: `make backup` makes one")
    return snapshot


def restore(place: Folder, snapshot: Snapshot, into: Path) -> None:
    """Make the clone. Raises PipelineError naming what is missing or damaged; there is no such folder then."""
    if str(into) in {"", "."} or into.exists():
        raise PipelineError(f"{into} is there already: name a folder that is not, INTO=../restored")
    partial = into.with_name(f".partial.{into.name}")
    shutil.rmtree(partial, ignore_errors=True)
    bundle = into.with_name(f".partial.{into.name}.bundle")
    try:
        _bring(place, [snapshot.git], lambda _: bundle)
        repository.clone(bundle, partial)
        if repository.references(partial) != snapshot.references:
            raise PipelineError(f"backup {snapshot.name}: the repository has other branches and tags than were saved")
        project = partial / snapshot.folder
        rest = [entry for entry in snapshot.entries if entry is not snapshot.git]
        _bring(place, rest, lambda entry: project / entry.path)
        dvc("--cd", str(project), "checkout")
        partial.rename(into)
    finally:
        bundle.unlink(missing_ok=True)
        shutil.rmtree(partial, ignore_errors=True)


def refill(into: Path, snapshot: Snapshot, chosen: Settings) -> None:
    """Put back what the DVC remote and the bucket of releases lack; who may sign says this delivery.yaml."""
    into /= snapshot.folder
    if chosen.releases:
        folder = store.releases(chosen)
        for tag in snapshot.releases:
            store.verify(into / "dist" / tag, tag, chosen)
            new = store.publish(folder, tag, into / "dist" / tag, chosen)
            print(f"{tag} {'is' if new else 'was'} in {folder}")
    if dvc("--cd", str(into), "config", "core.remote").strip():
        if show("--cd", str(into), "push", "--all-branches", "--all-tags"):
            raise PipelineError("the DVC remote is not filled, see above: run the same `dvc push` in the folder")
        print("the DVC remote has all data of branches and tags")


def _bring(place: Folder, entries: Sequence[Entry], path: Callable[[Entry], Path]) -> None:
    with bar() as progress, ThreadPoolExecutor(THREADS) as pool:
        task = progress.add_task("restore", total=sum(entry.size for entry in entries))

        def bring(entry: Entry) -> None:
            copying.bring(place, entry, path(entry), lambda done: progress.advance(task, done))

        try:
            list(pool.map(bring, entries))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


if __name__ == "__main__":
    run(main)
