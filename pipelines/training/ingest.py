"""Turn a source of images into new Parquet shards of data/; what is already there stays as it is.

python -m pipelines.training.ingest photos.zip       add a source
python -m pipelines.training.ingest photos --replace start over with this source alone
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import Progress

from model.inputs import InputError
from pipelines.command import PipelineError, atomic, run
from pipelines.dvc import DATA, dvc
from pipelines.training import layout, restore, shards, sources
from pipelines.training.encoding import strip
from pipelines.training.sources.base import Source

SKIPPED = Path("reports/skipped.txt")
LISTED = 20


@dataclass
class Summary:
    added: int = 0
    known: int = 0
    """Examples that a shard already holds."""
    bad: list[str] = field(default_factory=list)
    """Path and reason of each file that is not an acceptable image."""
    shards: list[Path] = field(default_factory=list)
    """What was written."""


def ingest(source: Source, folder: Path, *, skip_bad: bool = False) -> Summary:
    """Write shards with those examples of a source that the folder does not hold yet; memory stays bounded.

    Raises PipelineError, and leaves the folder as it was, for a layout that fits none, an empty class, fewer than
    two classes in all, or a file that is not an acceptable image unless `skip_bad`.
    """
    plan = layout.read(source.paths())
    known_labels = shards.labels(folder)
    if len(plan.labels | known_labels) < 2:
        only = ", ".join(sorted(plan.labels))
        raise PipelineError(f"{source.name} has the single class {only!r}: a classifier needs at least two")
    known = shards.keys(folder)
    summary = Summary()
    with shards.Writer(folder, source.name) as writer, Progress() as progress:
        task = progress.add_task(f"ingest {source.name}", total=plan.images)
        for path, read in source.files():
            place = plan.place(path)
            if place is None:
                continue
            progress.advance(task)
            try:
                example = shards.Example(strip(read()), *place, source.name)
            except (InputError, OSError) as error:
                summary.bad.append(f"{path}: {error}")
                continue
            if _contains(known, example.key()):
                summary.known += 1
            else:
                writer.add(example)
                summary.added += 1
        if summary.bad and not skip_bad:
            raise PipelineError(_describe(summary.bad, plan.images))
        if not summary.added + summary.known:
            raise PipelineError(f"{source.name} has no acceptable image")
    summary.shards = writer.shards
    return summary


def _contains(sorted_keys: np.ndarray, key: int) -> bool:
    position = int(np.searchsorted(sorted_keys, np.uint64(key)))
    return position < len(sorted_keys) and int(sorted_keys[position]) == key


def _describe(bad: list[str], images: int) -> str:
    lines = [f"{len(bad):,} of {images:,} files are not acceptable images, nothing was added:", *bad[:LISTED]]
    if len(bad) > LISTED:
        lines.append(f"... and {len(bad) - LISTED:,} more")
    lines.append("repair or remove them, or go on without them: --skip-bad (make: SKIP_BAD=yes)")
    return "\n  ".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help=sources.KINDS)
    parser.add_argument("--replace", action="store_true", help="start over: leave the present data out")
    parser.add_argument(
        "--skip-bad", action="store_true", help=f"leave unreadable images out and list them in {SKIPPED}"
    )
    options = parser.parse_args()
    source = sources.open_source(options.source)
    if options.replace:
        summary = _replace(source, skip_bad=options.skip_bad)
    else:
        if restore.is_recorded(DATA):
            restore.restore(DATA)
        summary = _append(source, skip_bad=options.skip_bad)
    classes = sorted(shards.labels(DATA))
    print(
        f"{source.name}: {summary.added:,} images added, {summary.known:,} already there; {DATA}/ now holds "
        f"{shards.open_dataset(DATA).count_rows():,} images of {len(classes)} classes: commit {DATA}.dvc"
    )
    if summary.bad:
        with atomic(SKIPPED) as path:
            path.write_text("\n".join(summary.bad) + "\n")
        print(f"{len(summary.bad):,} files skipped: see {SKIPPED}")


def _append(source: Source, *, skip_bad: bool) -> Summary:
    summary = ingest(source, DATA, skip_bad=skip_bad)
    try:
        dvc("add", "--quiet", str(DATA))
    except BaseException:
        for shard in summary.shards:
            shard.unlink()
        raise
    return summary


def _replace(source: Source, *, skip_bad: bool) -> Summary:
    if DATA.exists():
        restore.restore(DATA)  # what is not recorded could not be had again
    fresh, old = Path(".data.new"), Path(".data.old")
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        summary = ingest(source, fresh, skip_bad=skip_bad)
        try:
            if DATA.exists():
                DATA.rename(old)
            fresh.rename(DATA)
            dvc("add", "--quiet", str(DATA))
        except BaseException:
            if old.exists():
                shutil.rmtree(DATA, ignore_errors=True)
                old.rename(DATA)
            raise
    finally:
        for folder in (fresh, old):
            shutil.rmtree(folder, ignore_errors=True)
    return summary


if __name__ == "__main__":
    run(main)
