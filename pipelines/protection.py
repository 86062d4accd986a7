"""Apply the rules that protect main and releases, which are files here, to a repository on a forge.

python -m pipelines.protection github team/digits    .github/rulesets/*.json, with GITHUB_TOKEN
python -m pipelines.protection gitlab team/digits    .gitlab/*.json, with GITLAB_TOKEN

The token is an administrator's: on GitHub with `administration: write`, on GitLab a maintainer's with scope `api`.
Again it brings the rules up to date. APIs: docs.github.com/rest/repos/rules, docs.gitlab.com/api/protected_branches.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from pipelines.api import Api
from pipelines.command import PipelineError, run

RULESETS = Path(".github", "rulesets")
GITLAB = Path(".gitlab")
APIS = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("forge", choices=APIS)
    parser.add_argument("repository", help="like team/digits")
    parser.add_argument("--api", help="address of the API of a forge of your own")
    options = parser.parse_args()
    variable = f"{options.forge.upper()}_TOKEN"
    token = os.environ.get(variable, "")
    if not token:
        raise PipelineError(f"{variable} is not set: it must hold an administrator's token")
    api, protect = {
        "github": ({"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}, github),
        "gitlab": ({"PRIVATE-TOKEN": token}, gitlab),
    }[options.forge]
    for done in protect(Api(options.api or APIS[options.forge], api), options.repository):
        print(done, flush=True)


def github(api: Api, repository: str) -> Iterator[str]:
    place = f"repos/{repository}/rulesets"
    there = api.send("GET", f"{place}?per_page=100&includes_parents=false")
    if there is None:
        raise PipelineError(f"{repository} is not there, or not to be seen with this token")
    known = {ruleset["name"]: ruleset["id"] for ruleset in there}
    for path in sorted(RULESETS.glob("*.json")):
        ruleset = json.loads(path.read_text())
        number = known.get(ruleset["name"])
        if number is None:
            api.send("POST", place, ruleset)
        else:
            api.send("PUT", f"{place}/{number}", ruleset)
        yield f"{path}: {'created' if number is None else 'updated'}"


def gitlab(api: Api, repository: str) -> Iterator[str]:
    place = f"projects/{quote(repository, safe='')}"
    if api.send("GET", place) is None:
        raise PipelineError(f"{repository} is not there, or not to be seen with this token")
    api.send("PUT", place, json.loads((GITLAB / "project.json").read_text()))
    yield f"{GITLAB / 'project.json'}: applied"
    for kind in ("protected_branches", "protected_tags"):
        for rule in json.loads((GITLAB / f"{kind}.json").read_text()):
            name = quote(rule["name"], safe="")
            # GitLab protects main by itself, but lets maintainers push; a rule is replaced by another in its place.
            if api.send("GET", f"{place}/{kind}/{name}") is not None:
                api.send("DELETE", f"{place}/{kind}/{name}")
            try:
                api.send("POST", f"{place}/{kind}", rule)
            except PipelineError as error:
                raise PipelineError(f"{rule['name']} is not protected now: run this again, {error}") from error
            yield f"{GITLAB / kind}.json: {rule['name']} protected"


if __name__ == "__main__":
    run(main)
