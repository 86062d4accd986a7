"""What runs where, as Git has it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.command import PipelineError
from pipelines.delivery import environments, rollback
from pipelines.delivery.environments import standing


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the two environments, in which nothing runs, as the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("staging", "production"):
        file = tmp_path / "environments" / name / "serving.env"
        file.parent.mkdir(parents=True)
        file.write_text("# settings\nRELEASE=\nSLIPWAY_WORKERS=2\n")
    git("init", "--quiet")
    git("config", "user.name", "Ann")
    git("config", "user.email", "ann@example.com")
    git("add", "--all")
    git("commit", "--quiet", "--message", "First")
    return tmp_path


@pytest.mark.parametrize(
    ("ran", "before"),
    [
        ((), None),
        (("v1",), None),
        (("v1", "v2"), "v1"),
        (("v1", "v2", "v3", "v2"), "v1"),
        (("v1", "v2", "v1", "v2"), "v1"),
        (("v1", "v2", "", "v3"), "v2"),
        (("v1", "v2", "v3", "v1", "v4"), "v1"),
    ],
)
def test_what_ran_before(ran: tuple[str, ...], before: str | None) -> None:
    """What was taken back does not count: a second rollback goes further back, and never forth to what was bad."""
    stack = standing(ran)
    assert (stack[-2] if len(stack) > 1 else None) == before


@given(st.lists(st.sampled_from(["", "v1", "v2", "v3", "v4"])))
def test_rollbacks_end(ran: list[str]) -> None:
    """Going back again and again comes to an end, at the first that ever stood, and visits nothing twice."""
    visited = []
    while len(stack := standing(ran)) > 1:
        ran = [*ran, stack[-2]]
        visited.append(stack[-2])
    assert len(set(visited)) == len(visited)


def test_the_line_is_all_that_changes(repository: Path) -> None:
    """Each move is one commit of one line; other changes, staged ones too, stay where they are."""
    (repository / "other").write_text("staged")
    git("add", "other")
    for release in ("v1.0.0", "v1.1.0"):
        environments.commit("production", release, f"Promote {release} to production")
    assert rollback.rollback("production") == "v1.0.0"
    assert (repository / "environments/production/serving.env").read_text() == (
        "# settings\nRELEASE=v1.0.0\nSLIPWAY_WORKERS=2\n"
    )
    assert git("show", "--format=%s", "--numstat", "HEAD").split() == [
        *["Roll", "production", "back", "to", "v1.0.0"],
        *("1", "1", "environments/production/serving.env"),
    ]
    assert git("status", "--porcelain").split() == ["A", "other"]
    assert [(each.release, each.author) for each in environments.history("production")] == [
        ("v1.0.0", "Ann"),
        ("v1.1.0", "Ann"),
        ("v1.0.0", "Ann"),
    ]
    assert environments.history("staging") == []
    assert environments.previous("production") is None


@pytest.mark.usefixtures("repository")
def test_where_nothing_runs_any_more() -> None:
    """The way back leads to what ran last."""
    for release in ("v1.0.0", "v1.1.0", ""):
        environments.commit("production", release, f"Now {release}")
    assert environments.running("HEAD") == {"production": "", "staging": ""}
    assert rollback.rollback("production") == "v1.1.0"
    assert rollback.rollback("production") == "v1.0.0"
    assert environments.running("HEAD") == {"production": "v1.0.0", "staging": ""}


def test_a_shallow_clone_does_not_know(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It says so, rather than that nothing ever ran."""
    environments.commit("production", "v1.0.0", "Now")
    clone = tmp_path_factory.mktemp("shallow") / "clone"
    git("clone", "--quiet", "--depth=1", f"file://{repository}", str(clone))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PipelineError, match="is shallow"):
        patch.chdir(clone)
        environments.history("production")


def test_what_is_wrong_with_a_file(repository: Path) -> None:
    """No such environment, two lines, no line, no release, a change that is not committed."""
    file = repository / "environments/staging/serving.env"
    for name in ("test", "../staging", ""):
        with pytest.raises(PipelineError, match="say ENV=production or ENV=staging"):
            environments.current(name)
    for text, said in (
        ("RELEASE=v1.0.0\nRELEASE=v1.1.0\n", "has 2 lines RELEASE"),
        ("WORKERS=1\n", "has 0 lines RELEASE"),
        ("RELEASE=latest\n", "'latest' is no release"),
    ):
        file.write_text(text)
        with pytest.raises(PipelineError, match=said):
            environments.current("staging")
    with pytest.raises(PipelineError, match="has changes that are not committed"):
        environments.commit("staging", "v1.0.0", "Promote")


def test_a_commit_that_fails(repository: Path) -> None:
    """A hook that says no leaves the file as it was."""
    hook = repository / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(PipelineError, match="git commit"):
        environments.commit("staging", "v1.0.0", "Promote")
    assert environments.current("staging") == ""
    assert git("status", "--porcelain") == ""


def git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], text=True)
