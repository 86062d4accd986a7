"""A merge request of the commit that moves an environment: by push options on GitLab, by the API on GitHub.

https://docs.gitlab.com/topics/git/commit#push-options-for-merge-requests, https://docs.github.com/rest/pulls/pulls
"""

from __future__ import annotations

import os
import re

from pipelines.api import Api
from pipelines.command import PipelineError
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
    github = GITHUB.fullmatch(git("remote", "get-url", remote).strip())
    token = os.environ.get(TOKEN, "")
    if github and not token:
        raise PipelineError(f"{TOKEN} is not set: it opens the pull request; the commit is here, push it yourself")
    options = () if github else OPEN
    git("push", "--quiet", *options, remote, f"HEAD:refs/heads/{branch}")
    if not github:
        return f"pushed as {branch}, with the wish for a merge request"
    title, _, text = git("show", "--no-patch", "--format=%B").partition("\n")
    body = {"title": title, "body": text.strip(), "head": branch, "base": "main"}
    headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {token}"}
    api = Api(os.environ.get("GITHUB_API_URL") or "https://api.github.com", headers)
    return f"pull request: {api.send('POST', f'repos/{github[1]}/pulls', body)['html_url']}"
