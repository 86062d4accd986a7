"""What the forge remembers, asks of a push and refuses, without running anything."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest
import requests

from pipelines.local_forge import api
from pipelines.local_forge.events import Event, Push, options
from pipelines.local_forge.hooks import asked
from pipelines.local_forge.pipeline import read_secrets
from pipelines.local_forge.protection import refusal
from pipelines.local_forge.records import Records, State

ZEROS = "0" * 40


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits on main, as the working folder: a hook's is the bare one."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init", "--quiet", "--initial-branch=main")
    git("config", "user.name", "Test")
    git("config", "user.email", "test@example.com")
    for name in ("first", "second"):
        git("commit", "--quiet", "--allow-empty", "--message", name)
    return folder


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "forge")


def git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], text=True).strip()


def judge(records: Records, commit: str, state: State, main: str) -> None:
    pipeline = records.start(Event("merge_request", commit, "better", 1), main)
    pipeline.state = state
    records.save(pipeline)


def advance(message: str, tree_file: str | None = None) -> str:
    if tree_file:
        Path(tree_file).write_text(message)
        git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", message)
    return git("rev-parse", "HEAD")


@pytest.mark.usefixtures("repository")
def test_main_takes_what_has_passed(records: Records) -> None:
    """A commit whose newest pipeline succeeded is taken, alone or by a merge that adds nothing; all else is not."""
    old = git("rev-parse", "HEAD")
    git("switch", "--quiet", "--create", "better")
    good = advance("better", "model.txt")
    push = Push(old, good, "refs/heads/main")
    assert "no pipeline of a merge request has passed" in str(refusal(push, records))
    judge(records, good, State.SUCCESS, git("rev-parse", "HEAD~2"))
    assert "protected" in str(refusal(push, records)), "it was compared with an older main"
    judge(records, good, State.SUCCESS, old)
    assert refusal(push, records) is None
    git("switch", "--quiet", "main")
    git("merge", "--quiet", "--no-ff", "--no-edit", "better")
    merge = git("rev-parse", "HEAD")
    assert refusal(Push(old, merge, "refs/heads/main"), records) is None
    Path("model.txt").write_text("nobody judged this")
    git("commit", "--quiet", "--all", "--amend", "--no-edit")
    assert "protected" in str(refusal(Push(old, git("rev-parse", "HEAD"), "refs/heads/main"), records))
    judge(records, good, State.FAILED, old)
    assert "protected" in str(refusal(push, records))


@pytest.mark.usefixtures("repository")
def test_history_stays(records: Records) -> None:
    """Main only goes forward, releases neither move nor go, and the first push of either is free."""
    new, old = git("rev-parse", "HEAD"), git("rev-parse", "HEAD~1")
    judge(records, old, State.SUCCESS, new)
    assert "only goes forward" in str(refusal(Push(new, old, "refs/heads/main"), records))
    assert "only goes forward" in str(refusal(Push(new, ZEROS, "refs/heads/main"), records))
    assert "neither moves nor goes away" in str(refusal(Push(new, old, "refs/tags/v1.0.0"), records))
    assert "neither moves nor goes away" in str(refusal(Push(new, ZEROS, "refs/tags/v1.0.0"), records))
    for ref in ("refs/heads/main", "refs/tags/v1.0.0", "refs/heads/any"):
        assert refusal(Push(ZEROS, new, ref), records) is None
    assert refusal(Push(new, old, "refs/heads/any"), records) is None


@pytest.mark.usefixtures("repository")
def test_what_a_push_asks_for(records: Records) -> None:
    """A branch is a push until it opens a merge request, whose number it keeps; a deletion is nothing."""
    commit = git("rev-parse", "HEAD")
    push = Push(ZEROS, commit, "refs/heads/better")
    assert asked(push, [], records) == Event("push", commit, "better")
    event = Event("merge_request", commit, "better", 1)
    assert asked(push, ["merge_request.create"], records) == event
    assert asked(push, [], records) == event
    assert asked(Push(ZEROS, commit, "refs/heads/other"), ["merge_request.create"], records) == Event(
        "merge_request", commit, "other", 2
    )
    git("tag", "--annotate", "v1.0.0", "--message", "First")
    assert asked(Push(ZEROS, git("rev-parse", "v1.0.0"), "refs/tags/v1.0.0"), [], records) == Event(
        "tag", commit, "v1.0.0"
    )
    assert asked(Push(commit, ZEROS, "refs/heads/better"), [], records) is None
    assert asked(push, ["ci.skip"], records) is None
    assert asked(Push(ZEROS, commit, "refs/notes/x"), [], records) is None


def test_push_options_are_read() -> None:
    """As githooks(5) counts them."""
    assert options({}) == []
    assert options({"GIT_PUSH_OPTION_COUNT": "2", "GIT_PUSH_OPTION_0": "a", "GIT_PUSH_OPTION_1": "b=c"}) == ["a", "b=c"]


def test_numbers_are_given_once(records: Records) -> None:
    """Pushes at the same time get pipelines of their own."""
    event = Event("push", "c", "main")
    threads = [threading.Thread(target=records.start, args=(event,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(path.name) for path in records.pipelines.iterdir()) == list(range(1, 21))


def test_notes_are_kept_as_gitlab_does(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are created, changed and listed, the newest first; without the token nothing is."""
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    records.open("better")
    with api.serve(records.requests.parent, "secret") as port:
        address = f"http://127.0.0.1:{port}/api/v4/projects/1/merge_requests/1/notes"
        with requests.Session() as session:
            assert session.get(address).status_code == 401
            session.headers["PRIVATE-TOKEN"] = "secret"
            for body in ("one", "two"):
                assert session.post(address, json={"body": body}).status_code == 201
            assert session.put(f"{address}/1", json={"body": "first"}).status_code == 200
            assert [note["body"] for note in session.get(f"{address}?per_page=100").json()] == ["two", "first"]
            assert session.put(f"{address}/9", json={"body": "x"}).status_code == 404
            assert session.get(address.replace("requests/1", "requests/2")).status_code == 404
            assert session.post(address, json={"body": ""}).status_code == 400
            assert session.post(address, data=b"{").status_code == 400
    assert {path.read_text() for path in records.requests.glob("1/*.md")} == {"first", "two"}


def test_variables_are_read(tmp_path: Path) -> None:
    """Lines of NAME=VALUE, with remarks; a forge without the file has no secrets."""
    assert read_secrets(tmp_path) == {}
    (tmp_path / "variables.env").write_text("# keys\nA=1\n\n B=x=y \n")
    assert read_secrets(tmp_path) == {"A": "1", "B": "x=y"}


def test_a_record_can_be_read(records: Records) -> None:
    """The status of a pipeline is JSON for programs and people."""
    pipeline = records.start(Event("push", "c", "main"))
    saved = json.loads((records.folder(pipeline) / "status.json").read_text())
    assert (saved["state"], saved["event"]["name"]) == ("running", "main")
