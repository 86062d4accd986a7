"""What the forge on one machine is asked for over HTTP, without running anything."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from pipelines.local_forge import pipeline, triggers
from pipelines.local_forge.events import Event


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A forge with one commit on main, whose pipelines do not run."""
    place = tmp_path / "repository.git"
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["commit", "--quiet", "--allow-empty", "-m", "First"],
    ):
        place.mkdir(exist_ok=True)
        subprocess.run(["git", *identity, *command], cwd=place, check=True)
    monkeypatch.setattr(pipeline, "run", lambda *_: None)
    return tmp_path


def ask(forge: Path, body: object) -> tuple[int, dict[str, str]]:
    return triggers._start(forge, triggers.token(forge), json.dumps(body).encode())  # noqa: SLF001 (without a port)


def test_a_trigger_runs_main(forge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its variables and those that GitLab sets."""
    started: list[Event] = []
    ended = threading.Event()

    def run(_: Path, event: Event) -> None:
        started.append(event)
        ended.set()

    monkeypatch.setattr(pipeline, "run", run)
    status, _ = ask(forge, {"token": triggers.token(forge), "ref": "main", "variables": {"RETRAIN": "yes"}})
    assert status == 201
    assert ended.wait(10)
    variables = started[0].variables()
    assert (variables["RETRAIN"], variables["CI_PIPELINE_SOURCE"]) == ("yes", "trigger")
    assert variables["CI_COMMIT_BRANCH"] == "main"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token": "wrong"}, 404),
        ({"token": "\u00e4"}, 404),
        ({"ref": "nowhere"}, 400),
        ({"ref": "--help"}, 400),
        ({"variables": {"a=b": "c"}}, 400),
        ({"variables": []}, 400),
    ],
)
def test_what_is_refused(forge: Path, change: dict[str, Any], status: int) -> None:
    """As GitLab has it: who has no token learns nothing."""
    assert ask(forge, {"token": triggers.token(forge), "ref": "main"} | change)[0] == status


def test_the_token_is_the_owners(forge: Path) -> None:
    """Nobody else reads it, and it stays."""
    assert triggers.token(forge) == triggers.token(forge)
    assert (forge / triggers.TOKEN).stat().st_mode & 0o077 == 0
