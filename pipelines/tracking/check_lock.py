"""Whether dvc.lock is what code, data and params.yaml make, and whether the remote has all that it names.

make check-lock

Exit codes of DVC do not tell: `dvc repro --dry` ends with 0 though stages would run, `dvc status` though some changed.
"""

from __future__ import annotations

import argparse
import json
import os
import re

from pipelines.command import PipelineError, run
from pipelines.dvc import dvc
from pipelines.tracking import outsider, remote

WOULD_RUN = re.compile(r"(?:Running stage|failed to reproduce) '([^']+)'")
MODIFIED = {"modified", "new"}  # and not "deleted" or "not in cache", as everything is in a fresh clone


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    check()


def check() -> None:
    """Raise PipelineError when dvc.lock is out of step, or names what no remote has, or the remote cannot be read."""
    if stages := stale():
        why = "".join(f"\n  {stage}: {', '.join(reasons) or 'its inputs'}" for stage, reasons in stages.items())
        raise PipelineError(
            f"dvc.lock is not what code, data and params.yaml make; changed since:{why}\nrun `make repro`, which takes "
            "over what CI has trained where it can, and commit dvc.lock and artifacts/metrics.json"
        )
    print("dvc.lock is in step with code, data and params.yaml")
    if not remote.is_configured():
        print("no DVC remote: nobody else has what it names; docs/data.md says how to add one")
        return
    try:
        lost = remote.missing()
    except remote.NoCredentialsError:
        if not outsider.asks(os.environ):
            raise
        print("no credentials for the DVC remote: whether it has what dvc.lock names is checked after the merge")
        return
    if lost:
        raise PipelineError(
            f"dvc.lock names what the DVC remote lacks: {', '.join(lost)}\nrun `.venv/bin/dvc push --run-cache` "
            "where it was made; if that is gone, `make repro PUSH=yes` makes it again, and commit what changes"
        )
    print("the DVC remote has all that it names")


def stale() -> dict[str, list[str]]:
    """Return the stages that would run again, each with what changed; those after them follow from it."""
    try:
        printed = dvc("repro", "--dry", "--allow-missing")
    except PipelineError as error:  # the inputs of a stage that would run are not here
        printed = str(error)
        if not WOULD_RUN.search(printed):
            raise
    names = WOULD_RUN.findall(printed)
    changes = json.loads(dvc("status", "--json")) if names else {}
    return {name: sorted(_modified(changes.get(name, []))) for name in names}


def _modified(changes: list[object]) -> set[str]:
    """Return what changed of a stage, from `[{"changed deps": {"params.yaml": {"train": "modified"}}}, ...]`."""
    found: set[str] = set()
    for change in changes:
        if not isinstance(change, dict):  # "changed command"
            found.add(str(change).removeprefix("changed "))
            continue
        for path, state in (pair for group in change.values() for pair in group.items()):
            if isinstance(state, dict):
                found |= {f"{key} in {path}" for key, value in state.items() if value in MODIFIED | {"deleted"}}
            elif state in MODIFIED:
                found.add(path)
    return found


if __name__ == "__main__":
    run(main)
