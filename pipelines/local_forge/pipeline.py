"""One pipeline: a clone, its jobs, what the pusher sees of them, and what stays: logs, reports, the state."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from pipelines.command import PipelineError
from pipelines.local_forge import api, runner
from pipelines.local_forge.events import MAIN, Event
from pipelines.local_forge.records import Pipeline, Records, State
from pipelines.review.repository import git

RESULT = re.compile(r"^ *(PASS|WARN|FAIL) +(\S+)")
STATES = {"PASS": "success", "WARN": "warning", "FAIL": "failed"}
SHOWN = re.compile(
    r"^(\S+) +(?:> )?(starting|finished in .*|(?:pass|fail|inconclusive|no-incumbent|error|warning): .*"
    r"|(?:comment|nothing to comment).*|Running stage .*|Stage '.*' is cached.*)(?: shell \(\w+\))?$"
)
"""The runner's words on jobs, a review's verdict, and what is trained."""
END = 20  # lines of a job that failed
TOKEN = "GITLAB_TOKEN"  # noqa: S105 (its name)


def run(forge: Path, event: Event) -> State:
    """Run the pipeline of an event and tell of it on standard output. Logs and reports stay in its folder."""
    records = Records(forge)
    heads = ("for-each-ref", "--format=%(objectname)", f"refs/heads/{MAIN}")
    pipeline = records.start(event, git("-C", str(forge / "repository.git"), *heads).strip())
    folder = records.folder(pipeline)
    started = time.monotonic()
    print(f"pipeline {pipeline.number}: {event}", flush=True)
    try:
        pipeline.state = _run(forge, pipeline, folder)
    except PipelineError:
        pipeline.state = State.FAILED
        raise
    except BaseException:
        pipeline.state = State.CANCELED
        raise
    finally:
        pipeline.seconds = round(time.monotonic() - started, 1)
        records.save(pipeline)
        shutil.rmtree(folder / "project", ignore_errors=True)
    print(f"pipeline {pipeline.number}: {pipeline.state} after {pipeline.seconds:.0f} s: {folder}", flush=True)
    return pipeline.state


def _run(forge: Path, pipeline: Pipeline, folder: Path) -> State:
    project, secrets = folder / "project", read_secrets(forge)
    git("clone", "--quiet", str(forge / "repository.git"), str(project))
    git("-C", str(project), "switch", "--quiet", "--detach", pipeline.event.commit)
    environment = runner.prepare(forge, project) | secrets
    variables = pipeline.event.variables()
    if pipeline.event.kind == "tag":
        environment["CI_JOB_TOKEN"] = secrets.get(TOKEN, "")  # with which a release is announced
    if not secrets and pipeline.event.request:
        variables["CI_MERGE_REQUEST_PROJECT_ID"] = "0"  # a fork's is another than its own
    with api.serve(forge, secrets.get(TOKEN)) as port:
        process = runner.start(forge, project, variables, environment, port)
        try:
            _follow(process.stdout or [], folder, pipeline)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
        finally:
            code = process.wait()
    for kept, name in (("output", "logs"), ("artifacts", "artifacts")):
        if (project / runner.STATE / kept).exists():
            shutil.move(project / runner.STATE / kept, folder / name)
    _explain(folder, pipeline)
    return State.FAILED if code or not pipeline.jobs else State.SUCCESS


def _follow(lines: Iterable[str], folder: Path, pipeline: Pipeline) -> None:
    """Write every line to the log; show when jobs begin and end, and the words that a person waits for."""
    with (folder / "log.txt").open("w") as log:
        for line in lines:
            log.write(line)
            log.flush()
            if result := RESULT.match(line):
                pipeline.jobs[result[2]] = STATES[result[1]]
            elif shown := SHOWN.match(line.rstrip()):
                print(f"  {shown[1]}: {shown[2]}", flush=True)


def _explain(folder: Path, pipeline: Pipeline) -> None:
    """Print the end of what failed."""
    failed = [folder / "logs" / f"{job}.log" for job, state in pipeline.jobs.items() if state == "failed"]
    for log in failed if pipeline.jobs else [folder / "log.txt"]:
        print(f"--- the end of {log}", *log.read_text(errors="replace").splitlines()[-END:], sep="\n", flush=True)
    for job, state in pipeline.jobs.items():
        print(f"  {job}: {state}", flush=True)


def read_secrets(forge: Path) -> dict[str, str]:
    """Return the project's CI variables: lines of NAME=VALUE in variables.env, which a fork does not have."""
    file = forge / "variables.env"
    if not file.exists():
        return {}
    lines = (line.strip() for line in file.read_text().splitlines())
    return {name: value for name, _, value in (line.partition("=") for line in lines if line and line[0] != "#")}
