"""What may be released, and against what it is judged."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipelines.command import PipelineError
from pipelines.delivery.preconditions import check


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, as the working folder."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch=main")
    commit("first")
    return tmp_path


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", *arguments], check=True)


def commit(content: str) -> None:
    Path("file").write_text(content)
    git("add", "file")
    git("commit", "--quiet", "--message", content)


def tag(name: str) -> None:
    git("tag", "--annotate", name, "--message", name)


@pytest.mark.usefixtures("repository")
def test_it_is_judged_against_the_last_final_release_of_another_commit() -> None:
    """Neither a candidate nor a failed tag of the same commit stands between a model and the one that it replaces."""
    tag("v1.0.0")
    assert check("v1.0.0") is None
    commit("second")
    tag("v1.1.0-rc.1")
    assert check("v1.1.0-rc.1") == "v1.0.0"
    commit("third")
    tag("v1.1.0")
    tag("v1.1.1")
    assert check("v1.1.1") == "v1.0.0"
    commit("fourth")
    tag("v1.2.0")
    assert check("v1.2.0") == "v1.1.1"


@pytest.mark.usefixtures("repository")
def test_what_may_not_be_released() -> None:
    """A tag that is none, is elsewhere, is changed, is older than another, or is not known to be on main."""
    with pytest.raises(PipelineError, match="there is no tag v1.0.0"):
        check("v1.0.0")
    git("tag", "v1.0.0")
    with pytest.raises(PipelineError, match="v1.0.0 does not say who made it"):
        check("v1.0.0")
    git("tag", "--delete", "v1.0.0")
    tag("v1.0.0")
    commit("second")
    with pytest.raises(PipelineError, match="is another commit than this one"):
        check("v1.0.0")
    tag("v0.9.0")
    with pytest.raises(PipelineError, match=r"v0.9.0 comes before v1.0.0"):
        check("v0.9.0")
    tag("v1.1.0")
    Path("file").write_text("changed")
    with pytest.raises(PipelineError, match="the working tree is not what v1.1.0 names"):
        check("v1.1.0")
    git("checkout", "--quiet", "file")
    git("remote", "add", "origin", "nowhere")
    with pytest.raises(PipelineError, match="origin/main is not known here"):
        check("v1.1.0")
    git("update-ref", "refs/remotes/origin/main", "HEAD~1")
    with pytest.raises(PipelineError, match="v1.1.0 is not on origin/main"):
        check("v1.1.0")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert check("v1.1.0") == "v1.0.0"
