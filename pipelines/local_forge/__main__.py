"""A forge on one machine, to try the pipeline before there is a server: `git push` to it runs the real .gitlab-ci.yml.

make forge                                      sets it up in .forge, as the remote `forge`
git push forge main                             the first model, the first incumbent
git push -o merge_request.create forge HEAD     a merge request, its verdict on this terminal
git push forge HEAD:main                        merges what has passed
git push forge v1.0.0                           a release
python -m pipelines.local_forge schedule main   what the clock would start
python -m pipelines.local_forge triggers        runs what is asked for over HTTP, as GitLab's pipeline triggers are

Jobs run as you, on this machine. Logs, reports and states are in .forge/pipelines, comments in .forge/merge-requests,
releases in .forge/releases. What jobs may know besides is in .forge/variables.env, one NAME=VALUE a line.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from pipelines.command import PipelineError, atomic, run
from pipelines.local_forge import pipeline, runner
from pipelines.local_forge.events import MAIN, Event
from pipelines.local_forge.records import State
from pipelines.local_forge.triggers import listen
from pipelines.review.repository import git

HOOK = """#!/bin/sh
GIT_NO_REPLACE_OBJECTS=1 PYTHONPATH='{root}' exec '{python}' -m pipelines.local_forge.hooks {name}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".forge"), help="where it lives (default: %(default)s)")
    parser.add_argument("--remote", default="forge", help="its name here (default: %(default)s)")
    commands = parser.add_subparsers(dest="command")
    schedule = commands.add_parser("schedule", help="run the scheduled pipeline of a branch now")
    schedule.add_argument("branch")
    triggers = commands.add_parser("triggers", help="run a pipeline for each trigger, until Ctrl-C")
    triggers.add_argument("--port", type=int, default=0, help="of loopback (default: a free one)")
    options = parser.parse_args()
    forge = options.folder.resolve()
    if options.command is None:
        create(forge, options.remote)
        return
    repository = forge / "repository.git"
    if not repository.exists():
        raise PipelineError(f"{forge} is no forge: `make forge` sets one up")
    if options.command == "triggers":
        listen(forge, options.port)
        return
    commit = git("-C", str(repository), "rev-parse", "--verify", f"refs/heads/{options.branch}").strip()
    if pipeline.run(forge, Event("schedule", commit, options.branch)) is not State.SUCCESS:
        sys.exit(1)


def create(forge: Path, remote: str) -> None:
    """Set a forge up, or bring one up to date; what it has recorded stays."""
    repository = forge / "repository.git"
    runner.install(forge / "runner")
    git("init", "--quiet", "--bare", f"--initial-branch={MAIN}", str(repository))
    git("-C", str(repository), "config", "receive.advertisePushOptions", "true")
    for name in ("pre-receive", "post-receive"):
        with atomic(repository / "hooks" / name) as partial:
            partial.write_text(HOOK.format(root=runner.ROOT, python=sys.executable, name=name))
            partial.chmod(0o755)
    if not (forge / "variables.env").exists():
        with atomic(forge / "variables.env") as partial:
            partial.touch(0o600)
            partial.write_text(f"{pipeline.TOKEN}={secrets.token_hex(16)}\n")
    if remote not in git("remote").split():
        git("remote", "add", remote, str(repository))
    elif (there := git("remote", "get-url", remote).strip()) != str(repository):
        raise PipelineError(f"the remote {remote} is {there}: choose another name, --remote")
    print(f"{forge} is ready, as the remote `{remote}`:\n\n  git push {remote} {MAIN}\n")
    print(
        "`python -m pipelines.local_forge --help` tells the rest; "
        f"`rm -r {forge}` and `git remote remove {remote}` undo it"
    )


if __name__ == "__main__":
    run(main)
