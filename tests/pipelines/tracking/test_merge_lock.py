"""The merge driver: two branches' dvc.lock become one without conflict marks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tracking.merge_lock import merge
from tests.conftest import ROOT

stages = st.dictionaries(st.sampled_from(["prepare", "train", "quantize"]), st.integers(0, 3))


@given(stages, stages)
def test_one_side_alone_wins(base: dict[str, int], changed: dict[str, int]) -> None:
    """What only one side changed, added or removed is taken, whichever side it is."""
    assert merge(base, changed, base) == changed
    assert merge(base, base, changed) == changed


@given(stages, stages, stages)
def test_every_stage_is_that_of_a_side(base: dict[str, int], ours: dict[str, int], theirs: dict[str, int]) -> None:
    """Nothing is invented, and where both sides changed a stage ours stays."""
    merged = merge(base, ours, theirs)
    for name in base | ours | theirs:
        sides = (ours.get(name), theirs.get(name))
        assert merged.get(name) in sides
        if base.get(name) not in sides:
            assert merged.get(name) == sides[0]


def test_git_calls_it(tmp_path: Path) -> None:
    """In a real merge both files come out whole, the lock with each side's stage; what is no lock is left to people."""

    def git(*arguments: str, code: int = 0) -> str:
        command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", *arguments]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    def commit(branch: str, metrics: str, lock: str) -> None:
        git("switch", "--quiet", "--force-create", branch, "base" if branch != "base" else "HEAD")
        (tmp_path / "artifacts" / "metrics.json").write_text(metrics)
        (tmp_path / "dvc.lock").write_text(lock)
        git("add", "--all")
        git("commit", "--quiet", "--message", branch)

    git("init", "--quiet", "--initial-branch", "main")
    driver = f"PYTHONPATH={ROOT} {sys.executable} -m pipelines.tracking.merge_lock %O %A %B %P"
    git("config", "merge.dvc-lock.driver", driver)
    (tmp_path / ".gitattributes").write_text((ROOT / ".gitattributes").read_text())
    (tmp_path / "artifacts").mkdir()
    git("add", "--all")
    git("commit", "--quiet", "--message", "first")
    commit("base", "{}", yaml.safe_dump({"schema": "2.0", "stages": {"train": 1, "evaluate": 1}}))
    commit("theirs", "{2}", yaml.safe_dump({"schema": "2.0", "stages": {"train": 2, "evaluate": 2}}))
    commit("broken", "{4}", "<<<<<<< [")
    commit("ours", "{3}", yaml.safe_dump({"schema": "2.0", "stages": {"train": 1, "evaluate": 3}}))
    assert "dvc.lock was merged: run `make repro`" in git("merge", "--no-edit", "theirs")
    merged = yaml.safe_load((tmp_path / "dvc.lock").read_text())
    assert merged == {"schema": "2.0", "stages": {"train": 2, "evaluate": 3}}
    assert (tmp_path / "artifacts" / "metrics.json").read_text() == "{3}"
    assert "is no dvc.lock" in git("merge", "--no-edit", "broken", code=1)
    assert yaml.safe_load((tmp_path / "dvc.lock").read_text()) == merged
