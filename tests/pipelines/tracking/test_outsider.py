"""Whose jobs may go without credentials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.tracking import outsider


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ({"pull_request": {"head": {"repo": {"fork": True}}, "user": {"login": "a"}}}, True),
        ({"pull_request": {"head": {"repo": {"fork": False}}, "user": {"login": "dependabot[bot]"}}}, True),
        ({"pull_request": {"head": {"repo": {"fork": False}}, "user": {"login": "a"}}}, False),
        ({"pull_request": {"head": {"repo": None}, "user": {"login": "a"}}}, False),
        ({"ref": "refs/heads/main"}, False),
    ],
)
def test_on_github(tmp_path: Path, event: dict[str, Any], answer: bool) -> None:
    """A fork's and Dependabot's pull requests; no push, and nothing that cannot be read."""
    path = tmp_path / "event.json"
    path.write_text(json.dumps(event))
    assert outsider.asks({"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(path)}) is answer
    path.write_text("{")
    assert not outsider.asks({"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(path)})


@pytest.mark.parametrize(("target", "answer"), [("2", True), ("1", False), ("", False)])
def test_on_gitlab(target: str, answer: bool) -> None:
    """A merge request whose target is another project than the job's."""
    variables = {"GITLAB_CI": "true", "CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_PROJECT_ID": target}
    assert outsider.asks(variables) is answer
    assert not outsider.asks({"CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_PROJECT_ID": target})
