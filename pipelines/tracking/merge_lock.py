"""Merge what the pipeline wrote and Git tracks: dvc.lock stage by stage, metrics by keeping ours. A Git merge driver.

python -m pipelines.tracking.merge_lock BASE OURS THEIRS PATH

Git calls it for the paths in .gitattributes. A stage that one side alone ran is taken from that side; of one that both
ran, ours stays. The result need not be true yet: `make repro` makes it so, from the run cache where it can, and `make
check-lock` fails until then. Git's protocol: gitattributes(5), "Defining a custom merge driver".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from pipelines.command import PipelineError, atomic, run

LOCK = "dvc.lock"
Stages = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "ours", "theirs"):
        parser.add_argument(name, type=Path)
    parser.add_argument("path", type=Path, help="the path in the repository")
    options = parser.parse_args()
    if options.path.name == LOCK:
        base, ours, theirs = (_load(path) for path in (options.base, options.ours, options.theirs))
        merged = ours | {"stages": merge(*(lock.get("stages", {}) for lock in (base, ours, theirs)))}
        with atomic(options.ours) as partial:
            partial.write_text(yaml.safe_dump(merged, sort_keys=False))
    print(
        f"{options.path} was merged: run `make repro` before you commit, or `make check-lock` will fail",
        file=sys.stderr,
    )


def merge(base: Stages, ours: Stages, theirs: Stages) -> Stages:
    """Return a three-way merge whose unit is the stage; where both sides changed one, ours."""
    merged: Stages = {}
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        side = theirs if ours.get(name) == base.get(name) else ours
        if name in side:
            merged[name] = side[name]
    return merged


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} is no {LOCK}: {error}: take either side, then run `make repro`") from error
    if not isinstance(loaded, dict):
        raise PipelineError(f"{path} is no {LOCK}: take either side, then run `make repro`")
    return loaded


if __name__ == "__main__":
    run(main)
