"""What Git is asked about other revisions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipelines.review import repository


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch=main")
    return tmp_path


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", *arguments], check=True)


def commit(path: Path) -> None:
    path.write_text(path.read_text() + "x" if path.exists() else "x")
    git("add", "--all")
    git("commit", "--quiet", "--message", path.name)


def test_a_branch_that_main_has_left_behind(folder: Path) -> None:
    """It is behind when main has changed the path since, and no longer once that is merged."""
    commit(folder / "dvc.lock")
    git("switch", "--quiet", "--create", "branch")
    git("switch", "--quiet", "main")
    commit(folder / "README.md")
    git("switch", "--quiet", "branch")
    assert not repository.is_behind("main", "dvc.lock")
    git("switch", "--quiet", "main")
    commit(folder / "dvc.lock")
    git("switch", "--quiet", "branch")
    assert repository.is_behind("main", "dvc.lock")
    git("merge", "--quiet", "main")
    assert not repository.is_behind("main", "dvc.lock")
