"""Let an environment run what it ran before: one line of environments/<name>/serving.env, committed.

make rollback ENV=production               to the release before the one that runs
make rollback ENV=production TAG=v1.2.1    to that one, if it ran there
make rollback ENV=production PUSH=yes      and asks for a merge request of it

The environment's servers, if delivery.yaml lists any, go back at once. Nothing is downloaded: they still have what ran,
it was verified when it was promoted, and a rollback must work while a bucket does not.
"""

from __future__ import annotations

import argparse
import sys

from pipelines import logs
from pipelines.command import PipelineError, run
from pipelines.delivery import environments, merge_request, servers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", help="a folder of environments/")
    parser.add_argument("tag", nargs="?", help="like v1.2.1 (default: what ran before)")
    parser.add_argument("--push", action="store_true", help="push a branch of it and ask for a merge request")
    options = parser.parse_args()
    tag = rollback(options.environment, options.tag)
    if options.push:
        print(merge_request.open_for(options.environment, tag))
    if servers.serves(options.environment):
        sys.exit(servers.play("rollback", options.environment))


def rollback(environment: str, tag: str | None = None) -> str:
    """Return the release that runs again. Raises PipelineError when there is none to go back to."""
    running = environments.current(environment)
    target = tag or environments.previous(environment)
    if target is None:
        raise PipelineError(f"{environment} has run nothing before {running or 'anything'}: there is no way back")
    if target == running:
        raise PipelineError(f"{environment} has {target} already")
    if target not in (ran := {change.release for change in environments.history(environment)}):
        known = ", ".join(sorted(filter(None, ran))) or "none"
        raise PipelineError(f"{target} has never run in {environment}, which knows {known}: promote it instead")
    logs.note(environment=environment, release=target)
    environments.commit(environment, target, f"Roll {environment} back to {target}\n\nInstead of {running}.")
    print(f"{environment}: {target} instead of {running}, once this commit is on main")
    return target


if __name__ == "__main__":
    run(main)
