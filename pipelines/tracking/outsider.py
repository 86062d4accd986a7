"""Whether a CI job is for a merge request of somebody who gets no credentials: a fork, or Dependabot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

DEPENDABOT = "dependabot[bot]"  # GitHub gives its pull requests what it gives to forks


def asks(environment: Mapping[str, str]) -> bool:
    if environment.get("GITHUB_ACTIONS") == "true":
        try:
            event = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_bytes())
            request = event["pull_request"]
            return bool(request["head"]["repo"]["fork"]) or request["user"]["login"] == DEPENDABOT
        except (OSError, ValueError, LookupError, TypeError):
            return False
    # GitLab runs the pipeline of a fork in the fork.
    target = environment.get("CI_MERGE_REQUEST_PROJECT_ID")
    return environment.get("GITLAB_CI") == "true" and target not in {None, "", environment.get("CI_PROJECT_ID")}
