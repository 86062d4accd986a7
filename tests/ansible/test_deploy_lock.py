"""One deploy at a time, by a lock that a killed one does not keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ansible.plugins import run


def test_one_owner_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who has it may take it again; others learn who that is, until it is let go."""
    path = str(tmp_path / "lock")
    for _ in range(2):
        assert not run(capsys, "deploy_lock", path=path, owner="alice", what="v1").get("failed")
    refused = run(capsys, "deploy_lock", path=path, owner="bob", what="v1")
    assert refused["failed"]
    assert "alice is deploying here" in refused["msg"]
    assert run(capsys, "deploy_lock", path=path, owner="bob", what="v1", state="absent")["failed"]
    assert not run(capsys, "deploy_lock", path=path, owner="alice", what="v1", state="absent").get("failed")
    assert not run(capsys, "deploy_lock", path=path, owner="bob", what="v1").get("failed")


def test_nobody_keeps_it_for_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What its owner does not renew is free after its lease."""
    path = str(tmp_path / "lock")
    run(capsys, "deploy_lock", path=path, owner="alice", what="v1", lease=-1)
    assert not run(capsys, "deploy_lock", path=path, owner="bob", what="v1").get("failed")


def test_what_did_not_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who takes over learns whether the one before wanted the same."""
    path = str(tmp_path / "lock")

    def take(what: str, **options: object) -> bool:
        return bool(run(capsys, "deploy_lock", path=path, owner="alice", what=what, **options)["unfinished"])

    assert [take("v1"), take("v1"), take("v2"), take("v2", state="absent"), take("v2")] == [
        False,
        True,
        False,
        True,
        False,
    ]
