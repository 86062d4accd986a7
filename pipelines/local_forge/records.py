"""What the forge remembers, in files that a person can read: pipelines, merge requests, the state of each commit."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from pipelines.command import atomic
from pipelines.local_forge.events import Event


class State(StrEnum):
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"


class Pipeline(msgspec.Struct):
    number: int
    event: Event
    state: State = State.RUNNING
    jobs: dict[str, str] = {}
    """The state of each job."""
    seconds: float = 0.0
    main: str = ""
    """What main was when it began, with which a merge request was compared."""


class Records:
    """`folder` holds pipelines/<number>/status.json with logs and reports, and merge-requests/<number>/branch."""

    def __init__(self, folder: Path) -> None:
        self.pipelines = folder / "pipelines"
        self.requests = folder / "merge-requests"

    def start(self, event: Event, main: str = "") -> Pipeline:
        pipeline = Pipeline(_next(self.pipelines), event, main=main)
        self.save(pipeline)
        return pipeline

    def folder(self, pipeline: Pipeline) -> Path:
        return self.pipelines / str(pipeline.number)

    def save(self, pipeline: Pipeline) -> None:
        with atomic(self.folder(pipeline) / "status.json") as partial:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(pipeline)) + b"\n")

    def passed(self, commit: str, main: str) -> bool:
        """Say whether the newest pipeline of a merge request with this commit succeeded, compared with this main."""
        newest: Pipeline | None = None
        for path in self.pipelines.glob("*/status.json"):
            found = msgspec.json.decode(path.read_bytes(), type=Pipeline)
            wanted = found.event.kind == "merge_request" and found.event.commit == commit
            if wanted and (newest is None or found.number > newest.number):
                newest = found
        return newest is not None and newest.state is State.SUCCESS and newest.main == main

    def request(self, branch: str) -> int | None:
        """Return the number of a branch's merge request."""
        for path in self.requests.glob("*/branch"):
            if path.read_text() == branch:
                return int(path.parent.name)
        return None

    def open(self, branch: str) -> int:
        number = self.request(branch) or _next(self.requests)
        (self.requests / str(number) / "branch").write_text(branch)
        return number


def _next(folder: Path) -> int:
    """Make the folder of the next number; two pushes at once get two."""
    folder.mkdir(parents=True, exist_ok=True)
    number = max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=0)
    while True:
        number += 1
        try:
            (folder / str(number)).mkdir()
        except FileExistsError:
            continue
        return number
