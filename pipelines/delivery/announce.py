"""A release on the forge's own page of releases: what is new, how it was judged, and its files.

https://docs.gitlab.com/api/releases, https://docs.gitlab.com/user/packages/generic_packages,
https://docs.github.com/rest/releases. Run again it goes on where it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.api import Api
from pipelines.delivery import tags

CHANGELOG = Path("CHANGELOG.md")
LONGEST = 120_000  # characters; GitHub takes 125,000
PACKAGE = "release"


def changes(tag: str) -> str:
    """Return what the changelog says of a version, or of what is unreleased when it does not name the version."""
    text = CHANGELOG.read_text() if CHANGELOG.exists() else ""
    sections = dict(re.findall(r"^## \[?([^\]\s]+)[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for name in (tag, tag.removeprefix("v"), "Unreleased"):
        if name in sections:
            return str(sections[name]).strip()
    return ""


def announce(tag: str, folder: Path, notes: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Put the files in a folder and notes on the forge that this job runs on; yield what happened."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    notes = notes[:LONGEST]
    if environment.get("GITHUB_ACTIONS") == "true" and environment.get("GITHUB_TOKEN"):
        headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {environment['GITHUB_TOKEN']}"}
        api = Api(environment["GITHUB_API_URL"], headers)
        yield from _github(api, environment["GITHUB_REPOSITORY"], tag, files, notes)
    elif environment.get("GITLAB_CI") == "true" and environment.get("CI_JOB_TOKEN"):
        api = Api(environment["CI_API_V4_URL"], {"JOB-TOKEN": environment["CI_JOB_TOKEN"]})
        yield from _gitlab(api, environment, tag, files, notes)
    else:
        yield "not announced: this is not the job of a forge"


def _github(api: Api, repository: str, tag: str, files: list[Path], notes: str) -> Iterator[str]:
    place = f"repos/{repository}/releases"
    body = {"tag_name": tag, "name": tag, "body": notes, "prerelease": not tags.parse(tag).is_final}
    # A draft is on no address of its own; nobody sees it before all files are there.
    found = [each for each in api.send("GET", f"{place}?per_page=100") or [] if each["tag_name"] == tag]
    release: dict[str, Any] = found[0] if found else api.send("POST", place, body | {"draft": True})
    if release["draft"]:
        for left in release["assets"]:  # of a run that did not end
            api.send("DELETE", f"{place}/assets/{left['id']}")
        for path in files:
            api.upload("POST", f"{release['upload_url'].partition('{')[0]}?name={quote(path.name)}", path)
    api.send("PATCH", f"{place}/{release['id']}", body | {"draft": False})
    yield f"announced on GitHub: release {tag} of {repository}"


def _gitlab(api: Api, environment: Mapping[str, str], tag: str, files: list[Path], notes: str) -> Iterator[str]:
    project = f"projects/{quote(environment['CI_PROJECT_ID'], safe='')}"
    address = environment["CI_API_V4_URL"]
    if api.send("GET", f"{project}/releases/{tag}") is None:
        links = []
        for path in files:
            package = f"{project}/packages/generic/{PACKAGE}/{tag}/{path.name}"
            api.upload("PUT", package, path)
            links.append({"name": path.name, "url": f"{address}/{package}", "link_type": "package"})
        api.send("POST", f"{project}/releases", {"tag_name": tag, "description": notes, "assets": {"links": links}})
    else:
        api.send("PUT", f"{project}/releases/{tag}", {"description": notes})
    yield f"announced on GitLab: {environment['CI_PROJECT_URL']}/-/releases/{tag}"
