"""A merge request of the commit that moves an environment."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pipelines.command import PipelineError
from pipelines.delivery import merge_request
from tests.pipelines.delivery import github

HOOK = """#!/bin/sh
read old new ref
echo "$ref $GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1" > pushed
"""


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A forge that writes down what is pushed to it; the working folder is a clone with one commit more."""
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "team" / "digits.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git("-C", str(bare), "config", "receive.advertisePushOptions", "true")
    git("clone", "--quiet", str(bare), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    git("switch", "--quiet", "--create", "main")
    commit("First")
    git("push", "--quiet", "origin", "main")
    (bare / "hooks").mkdir(exist_ok=True)
    (bare / "hooks" / "post-receive").write_text(HOOK)
    (bare / "hooks" / "post-receive").chmod(0o755)
    commit("Promote v1.0.0 to staging\n\nInstead of nothing.")
    return bare


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    return subprocess.check_output(["git", *identity, *arguments], text=True)


def commit(message: str) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", message)


def test_on_gitlab(forge: Path) -> None:
    """By push options, on a branch of its own: the same move again does not meet the old branch."""
    said = merge_request.open_for("staging", "v1.0.0")
    name = f"staging-v1.0.0-{git('rev-parse', 'HEAD')[:8]}"
    assert said == f"pushed as {name}, with the wish for a merge request"
    pushed = (forge / "pushed").read_text().strip()
    assert pushed == f"refs/heads/{name} merge_request.create merge_request.target=main"
    git("commit", "--quiet", "--allow-empty", "--amend", "--message", "Promote v1.0.0 to staging, again")
    assert merge_request.open_for("staging", "v1.0.0") != said


def test_on_github(forge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the API, with the commit's words; without a token nothing is pushed."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(merge_request, "GITHUB", re.compile(r".*/(team/digits)\.git"))
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    with pytest.raises(PipelineError, match="nor GITHUB_TOKEN is set"):
        merge_request.open_for("staging", "v1.0.0")
    assert not (forge / "pushed").exists()
    with github.serve() as api:
        for name, value in api.environment().items():
            monkeypatch.setenv(name, value)
        assert merge_request.open_for("staging", "v1.0.0").startswith("pull request: http")
        (request,) = api.requests
    assert (request["title"], request["body"]) == ("Promote v1.0.0 to staging", "Instead of nothing.")
    assert request["base"] == "main"
    assert (forge / "pushed").read_text().startswith(f"refs/heads/{request['head']}")


@pytest.mark.usefixtures("forge")
def test_other_commits_do_not_slip_in() -> None:
    """What main lacks beside the move is not pushed with it."""
    commit("Something else")
    with pytest.raises(PipelineError, match="is not origin/main and one commit more"):
        merge_request.open_for("staging", "v1.0.0")


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/team/digits.git",
        "https://github.com/team/digits",
        "https://user:token@github.com/team/digits.git",
        "git@github.com:team/digits.git",
        "ssh://git@github.com/team/digits.git",
    ],
)
def test_github_is_known_by_its_address(address: str) -> None:
    """However a remote is written."""
    found = merge_request.GITHUB.fullmatch(address)
    assert found
    assert found[1] == "team/digits"


@pytest.mark.parametrize("address", ["https://github.com.example.com/team/digits", "git@gitlab.com:team/digits.git"])
def test_another_forge_is_not(address: str) -> None:
    """A host that begins alike gets no token."""
    assert not merge_request.GITHUB.fullmatch(address)


def test_a_branch_that_another_has_pushed_is_kept(forge: Path) -> None:
    """Of two who ask for the same one is refused; what was merged meanwhile is written over when it is named."""
    merge_request.ask("retrain/production", "HEAD")
    first = git("rev-parse", "HEAD").strip()
    commit("Another model")
    with pytest.raises(PipelineError, match="stale info|rejected"):
        merge_request.ask("retrain/production", "HEAD")
    assert git("-C", str(forge), "rev-parse", "retrain/production").strip() == first
    merge_request.ask("retrain/production", "HEAD", over=first)
    assert git("-C", str(forge), "rev-parse", "retrain/production") == git("rev-parse", "HEAD")


def test_no_branch_is_left_without_a_request(forge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would pass for one that is open."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(merge_request, "GITHUB", re.compile(r".*/(team/digits)\.git"))
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    with pytest.raises(PipelineError, match="cannot be reached"):
        merge_request.ask("retrain/production", "HEAD")
    assert (forge / "pushed").read_text().startswith("refs/heads/retrain/production")
    assert git("-C", str(forge), "branch", "--list", "retrain/*") == ""
