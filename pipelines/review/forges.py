"""Which merge request a CI job runs for: GitHub and GitLab say it in variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from pipelines.review.forge import Forge, ForgeError


class _PullRequest(msgspec.Struct):
    number: int


class _Event(msgspec.Struct):
    pull_request: _PullRequest | None = None


def find(environment: Mapping[str, str]) -> Forge | None:
    """Return the forge of this CI job's merge request, None without one. Raises ForgeError when it cannot be had."""
    if environment.get("GITHUB_ACTIONS") == "true":
        number = _pull_request(environment)
        return None if number is None else _github(environment, number)
    if environment.get("GITLAB_CI") == "true" and environment.get("CI_MERGE_REQUEST_IID"):
        return _gitlab(environment, environment["CI_MERGE_REQUEST_IID"])
    return None


def _github(environment: Mapping[str, str], number: int) -> Forge:
    access = (
        "the job needs `permissions: pull-requests: write` and the step `GITHUB_TOKEN: ${{ github.token }}`; "
        "a pull request from a fork gets a read-only token"
    )
    token = _token(environment, "GITHUB_TOKEN", access)
    api = environment.get("GITHUB_API_URL") or "https://api.github.com"
    issues = f"{api.rstrip('/')}/repos/{quote(_need(environment, 'GITHUB_REPOSITORY'))}/issues"
    return Forge(
        name="GitHub",
        place=f"pull request {number}",
        comments=f"{issues}/{number}/comments",
        comment=f"{issues}/comments",
        method="PATCH",
        limit=65_536,
        address="GITHUB_API_URL and GITHUB_REPOSITORY",
        access=access,
        token=token,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )


def _gitlab(environment: Mapping[str, str], number: str) -> Forge:
    access = (
        "the masked variable GITLAB_TOKEN must hold a project access token with role Reporter and scope `api`; "
        "merge requests get no protected variables, and those from a fork get the fork's"
    )
    token = _token(environment, "GITLAB_TOKEN", access)
    # A fork's pipeline may run in the fork; the merge request is in the project that it targets.
    project = environment.get("CI_MERGE_REQUEST_PROJECT_ID") or _need(environment, "CI_PROJECT_ID")
    projects = f"{_need(environment, 'CI_API_V4_URL').rstrip('/')}/projects"
    notes = f"{projects}/{quote(project, safe='')}/merge_requests/{quote(number, safe='')}/notes"
    return Forge(
        name="GitLab",
        place=f"merge request {number}",
        comments=notes,
        comment=notes,
        method="PUT",
        limit=1_000_000,
        address="CI_API_V4_URL and CI_MERGE_REQUEST_PROJECT_ID",
        access=access,
        token=token,
        headers={"PRIVATE-TOKEN": token},
    )


def _pull_request(environment: Mapping[str, str]) -> int | None:
    ref = re.fullmatch(r"refs/pull/([0-9]+)/\w+", environment.get("GITHUB_REF", ""))
    number = int(ref[1]) if ref else None
    try:
        event = msgspec.json.decode(Path(environment["GITHUB_EVENT_PATH"]).read_bytes(), type=_Event)
    except KeyError:
        return number
    except (OSError, ValueError) as error:
        if number is None:
            raise ForgeError(f"GITHUB_EVENT_PATH is not an event that can be read: {error}") from error
        return number
    return event.pull_request.number if event.pull_request else number


def _need(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise ForgeError(f"{name} is not set: the CI sets it, so pass it on to this command")
    return environment[name]


def _token(environment: Mapping[str, str], name: str, access: str) -> str:
    token = environment.get(name, "").strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise ForgeError(f"{name} is {'no token' if token else 'not set'}: {access}")
    return token
