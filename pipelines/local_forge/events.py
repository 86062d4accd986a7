"""What a push asks for: which pipeline runs, with the variables that GitLab would set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MAIN = "main"
BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
MERGE_REQUEST = "merge_request.create"
"""The push option that opens a merge request, as in GitLab; later pushes of the branch belong to it."""


@dataclass(frozen=True)
class Push:
    """One reference of a push, as Git's hooks get it; `old` is zeros for a new one, `new` for one that is deleted."""

    old: str
    new: str
    ref: str

    @property
    def is_deletion(self) -> bool:
        return set(self.new) == {"0"}

    @property
    def is_creation(self) -> bool:
        return set(self.old) == {"0"}

    @property
    def branch(self) -> str | None:
        return self.ref.removeprefix(BRANCHES) if self.ref.startswith(BRANCHES) else None

    @property
    def tag(self) -> str | None:
        return self.ref.removeprefix(TAGS) if self.ref.startswith(TAGS) else None


@dataclass(frozen=True)
class Event:
    kind: Literal["push", "merge_request", "tag", "schedule", "trigger"]
    commit: str
    name: str
    """The branch or tag."""
    request: int | None = None
    """The number of the merge request."""
    before: str = "0" * 40
    """Where the branch was."""
    given: dict[str, str] = field(default_factory=dict)
    """Variables of a trigger, which win over the forge's own as on GitLab."""

    def __str__(self) -> str:
        return f"merge request !{self.request} of {self.name}" if self.request else f"{self.kind} of {self.name}"

    def variables(self) -> dict[str, str]:
        """Return https://docs.gitlab.com/ci/variables/predefined_variables, as far as the runner cannot know them."""
        source = "merge_request_event" if self.kind == "merge_request" else self.kind.replace("tag", "push")
        named = {
            "merge_request": {
                "CI_MERGE_REQUEST_IID": str(self.request),
                "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": MAIN,
                "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": self.name,
            },
            "tag": {"CI_COMMIT_TAG": self.name},
        }.get(self.kind, {"CI_COMMIT_BRANCH": self.name})
        # Not `CI`: this is somebody's own machine, where tests skip what it lacks and install nothing.
        return (
            {
                "CI": "false",
                "GITLAB_CI": "true",
                "CI_PIPELINE_SOURCE": source,
                "CI_COMMIT_REF_NAME": self.name,
                "CI_COMMIT_BEFORE_SHA": self.before,
            }
            | named
            | self.given
        )


def options(environment: Mapping[str, str]) -> list[str]:
    """Return the push options that Git hands to a hook, githooks(5)."""
    return [
        environment[f"GIT_PUSH_OPTION_{index}"] for index in range(int(environment.get("GIT_PUSH_OPTION_COUNT", 0)))
    ]
