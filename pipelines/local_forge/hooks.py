"""What Git calls in the forge's repository: before a push is taken, and after.

python -m pipelines.local_forge.hooks pre-receive | post-receive < references     githooks(5)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipelines.command import PipelineError, run
from pipelines.delivery import tags
from pipelines.local_forge import pipeline
from pipelines.local_forge.events import MAIN, MERGE_REQUEST, Event, Push, options
from pipelines.local_forge.protection import refusal
from pipelines.local_forge.records import Records
from pipelines.review.repository import git


def main() -> None:
    forge = Path.cwd().parent
    pushes = [Push(*line.split()) for line in sys.stdin]
    if sys.argv[1] == "pre-receive":
        receive(forge, pushes)
        return
    given = options(os.environ)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]  # they would lead Git in a clone back to this repository
    for push in pushes:
        if event := asked(push, given, Records(forge)):
            pipeline.run(forge, event)


def receive(forge: Path, pushes: list[Push]) -> None:
    """Raise PipelineError when one reference may not be pushed: then none is."""
    records = Records(forge)
    if reasons := [reason for push in pushes if (reason := refusal(push, records))]:
        raise PipelineError("; ".join(reasons))


def asked(push: Push, given: list[str], records: Records) -> Event | None:
    """Return the event that a push is, or None when nothing is to run."""
    if push.is_deletion or "ci.skip" in given:
        return None
    commit = git("rev-parse", f"{push.new}^{{commit}}").strip()
    if push.tag:
        return Event("tag", commit, push.tag) if tags.is_release(push.tag) else None
    if not push.branch:
        return None
    if push.branch == MAIN:
        return Event("push", commit, MAIN, before=push.old)
    request = records.open(push.branch) if MERGE_REQUEST in given else records.request(push.branch)
    if request is not None:
        return Event("merge_request", commit, push.branch, request)
    return Event("push", commit, push.branch)


if __name__ == "__main__":
    run(main)
