"""A merge request of the commit that moves an environment: by push options on GitLab, by the API on GitHub.

https://docs.gitlab.com/topics/git/commit#push-options-for-merge-requests, https://docs.github.com/rest/pulls/pulls
"""

from __future__ import annotations

import os
import re

from pipelines.api import Api
from pipelines.command import PipelineError
from pipelines.delivery import shared
from pipelines.delivery.preconditions import MAIN
from pipelines.review import repository
from pipelines.review.repository import git

TOKEN = "GITHUB_TOKEN"  # noqa: S105 (its name)
GITHUB = re.compile(r"(?:https://(?:[^@/]+@)?|ssh://git@|git@)github\.com[:/](.+?)(?:\.git)?/?")
OPEN = ("-o", "merge_request.create", "-o", f"merge_request.target={MAIN}", "-o", "merge_request.remove_source_branch")


def open_for(environment: str, tag: str) -> str:
    """Push the last commit as a branch of its own and return what to look at. Raises PipelineError."""
    # Of the same move earlier there may be a branch still.
    branch = f"{environment}-{tag}-{(repository.commit('HEAD') or '')[:8]}"
    remote = repository.remote()
    if remote is None:
        raise PipelineError("there is no remote to push to: the commit is here")
    git("fetch", "--quiet", remote, MAIN)
    if repository.commit("HEAD~1") != repository.commit(f"{remote}/{MAIN}"):
        raise PipelineError(f"this branch is not {remote}/{MAIN} and one commit more: push it yourself, or begin there")
    return ask(branch, "HEAD")


def ask(branch: str, commit: str, over: str | None = None) -> str:
    """Push a commit as a branch, ask for a merge request with the commit's words, and return what to look at.

    over: the commit that the branch may have now; by default there must be none. Raises PipelineError when it has
    another; nothing is open then that was not.
    """
    github = GITHUB.fullmatch(git("remote", "get-url", shared.name()).strip())
    token = os.environ.get(shared.TOKEN) or os.environ.get(TOKEN, "")
    if github and not token:
        raise PipelineError(
            f"neither {shared.TOKEN} nor {TOKEN} is set, to open the pull request: push {commit} yourself"
        )
    ref = f"refs/heads/{branch}"
    options = ("--quiet", f"--force-with-lease={ref}:{over or ''}", *(() if github else OPEN))
    shared.call("push", f"{commit}:{ref}", options=options)
    if not github:
        return f"pushed as {branch}, with the wish for a merge request"
    title, _, text = git("show", "--no-patch", "--format=%B", commit).partition("\n")
    body = {"title": title, "body": text.strip(), "head": branch, "base": MAIN}
    headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {token}"}
    api = Api(os.environ.get("GITHUB_API_URL") or "https://api.github.com", headers)
    try:
        return f"pull request: {api.send('POST', f'repos/{github[1]}/pulls', body)['html_url']}"
    except PipelineError:
        shared.call("push", f":{ref}", options=("--quiet",))  # a branch alone would pass for an open request
        raise
