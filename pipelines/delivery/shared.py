"""The repository that a team shares: reached as this machine does, or by a token where CI has one that may push."""

from __future__ import annotations

import os
import re

from pipelines.command import PipelineError
from pipelines.review import repository
from pipelines.review.repository import git

TOKEN = "MERGE_REQUEST_TOKEN"  # noqa: S105 (its name)
# Git asks the helper, whose shell alone reads the token: it is in no argument, no file and no message.
HELPER = f'!f() {{ echo username=git; echo "password=${TOKEN}"; }}; f'
HTTPS = re.compile(r"(https://)(?:[^/]*@)?([^/].*)")


def name() -> str:
    """Return the name of its remote. Raises PipelineError when there is none."""
    remote = repository.remote()
    if remote is None:
        raise PipelineError("there is no remote to push to")
    return remote


def call(command: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Run `git command options remote arguments` and return what it printed. Raises PipelineError."""
    remote = name()
    address = HTTPS.fullmatch(git("remote", "get-url", remote).strip())
    if not (address and os.environ.get(TOKEN)):
        return git(command, *options, remote, *arguments)
    # What CI left in the address may read alone, and other helpers know other people.
    helpers = ("-c", "credential.helper=", "-c", f"credential.helper={HELPER}")
    return git(*helpers, command, *options, "".join(address.groups()), *arguments)


def fetch(branch: str) -> str | None:
    """Bring a branch here and return its commit, None when there is no such branch."""
    ref = f"refs/heads/{branch}"
    if not call("ls-remote", ref):
        return None
    call("fetch", f"+{ref}:refs/remotes/{name()}/{branch}", options=("--quiet", "--no-tags"))
    return repository.commit(f"refs/remotes/{name()}/{branch}")
