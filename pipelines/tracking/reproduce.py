"""Bring artifacts/ to what code, data and params.yaml make: from the run cache where a run is known, else by running.

make repro           for a person
make repro PUSH=yes  for CI: data, results and run cache also go to the remote

What a remote has is not made again, and data/ is not fetched for stages that need not run. A remote that cannot be read
is a warning: everything can be made here.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from pathlib import Path

import yaml

from model.manifest import MODEL
from pipelines import params
from pipelines.command import run, warn
from pipelines.dvc import DATA, dvc, show, succeeds
from pipelines.tracking import remote
from pipelines.tracking.check_lock import stale
from pipelines.training.restore import restore

PIPELINE = Path("dvc.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--push", action="store_true", help="store data, results and run cache in the remote")
    options = parser.parse_args()
    if not options.push and _is_made():
        print("Data and pipelines are up to date.")
        return
    reproduce()
    if options.push:
        store()


def reproduce() -> None:
    """Exit with DVC's code when a stage fails. Raises PipelineError when data/ cannot be had."""
    _fetch_initial_weights()
    if DATA.exists():
        if succeeds("status", "--quiet"):
            print("Data and pipelines are up to date.")
            return
        restore(DATA)
    lacking = _lacking()
    if lacking is not None:
        if f"{DATA}/" in lacking and not DATA.exists():
            restore(DATA)
        if _share():
            return
    if not DATA.exists():
        restore(DATA)
    if code := show("repro"):
        sys.exit(code)


def store() -> None:
    """Push to the remote; where that cannot be done, warn: results are not lost, `make check-lock` judges the rest."""
    if not _is_shared():
        print("no DVC remote: results stay in this machine's cache")
    elif _lacking() is not None and show("push", "--run-cache"):
        warn("results were not stored in the DVC remote: run this job again when it is well, which repeats no training")


def _fetch_initial_weights() -> None:
    """Bring the file that training begins with, where DVC has it; one that is still missing only training misses."""
    name = params.load().train.initial_weights
    if name and not Path(name).exists() and Path(f"{name}.dvc").exists():
        succeeds("pull", "--quiet", f"{name}.dvc")


def _is_made() -> bool:
    """Whether artifacts/ has the bytes that dvc.lock names and no stage would run, where data/ was never fetched.

    So it is in the jobs that take the model over from the one that made it: nothing is asked of the remote.
    """
    if DATA.exists() or not Path("artifacts", MODEL).exists():
        return False
    changed = json.loads(dvc("data", "status", "--json")).get("uncommitted", {})
    return {path for paths in changed.values() for path in paths} <= {f"{DATA}/"} and not stale()


@cache
def _is_shared() -> bool:
    return remote.is_configured()


def _lacking() -> list[str] | None:
    """Return what the remote lacks of what dvc.lock names, or None when there is no remote to be read."""
    if not _is_shared():
        return None
    try:
        return remote.missing()
    except remote.NoCredentialsError:
        print("no credentials for the DVC remote: going on without it")
    except remote.RemoteError as error:
        warn(f"going on without the DVC remote: {error}")
    return None


def _share() -> bool:
    """Run what no remote has, and bring the rest. Return False when the remote went away meanwhile or lacks some."""
    if code := show("repro", "--pull", "--allow-missing"):
        if _lacking() == []:
            sys.exit(code)
        return False  # what was missing may be why
    stages = yaml.safe_load(PIPELINE.read_text())["stages"]
    return show("pull", *stages) == 0


if __name__ == "__main__":
    run(main)
