"""pipelines.review.exposure: every candidate in Git's history counts once, for its own test set."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pipelines.review import exposure
from tests.conftest import ROOT, git

PAGE = ROOT / "docs" / "gate.md"


def metrics(accuracy: float, test_set: str = "t") -> bytes:
    return json.dumps({"quantized": {"accuracy": accuracy}, "test": {"sha256": test_set}}).encode()


def commit(folder: Path, content: bytes) -> None:
    (folder / "artifacts").mkdir(exist_ok=True)
    (folder / "artifacts" / "metrics.json").write_bytes(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_candidates_of_all_branches_count_once(repository: Path) -> None:
    """Merged or not; another test set, another layout and the same scores again do not count."""
    for content in (metrics(0.9), metrics(0.8, "other"), b"{}", b"not json", metrics(0.9) + b"\n"):
        commit(repository, content)
    git(repository, "switch", "--quiet", "--create", "rejected")
    commit(repository, metrics(0.7))
    git(repository, "switch", "--quiet", "main")
    found = exposure.count("t", metrics(0.95), 0.95, 0.5)
    assert found.judged == 3
    assert found.budget == 10
    assert found.joint_confidence == pytest.approx(0.85)
    assert found.complete
    assert exposure.count("t", metrics(0.9), 0.95, 0.5).judged == 2


@pytest.mark.parametrize(
    ("forge", "reference"), [("GitHub", "refs/pull/1/head"), ("GitLab", "refs/merge-requests/1/head")]
)
def test_requests_that_were_never_merged_count_when_fetched(
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    forge: str,
    reference: str,
) -> None:
    """The commands of docs/gate.md bring them from a forge that keeps them beside the branches."""
    commit(repository, metrics(0.9))
    commit(repository, metrics(0.6))
    git(repository, "update-ref", reference, "HEAD")
    git(repository, "reset", "--quiet", "--hard", "HEAD^")
    clone = tmp_path_factory.mktemp("forge") / "clone"
    git(repository, "clone", "--quiet", repository.as_uri(), str(clone))
    monkeypatch.chdir(clone)
    assert exposure.count("t", metrics(0.9), 0.95, 0.5).judged == 1
    (command,) = [line for line in PAGE.read_text().splitlines() if line.startswith("git fetch") and forge in line]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert exposure.count("t", metrics(0.9), 0.95, 0.5).judged == 2


def test_a_repository_without_history(repository: Path) -> None:
    """The first candidate is the first, also before any commit."""
    assert exposure.count("t", metrics(0.9), 0.95, 0.5).judged == 1
    assert repository.exists()


def test_a_shallow_clone_says_that_it_sees_only_a_part(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its count is a least one."""
    commit(repository, metrics(0.9))
    commit(repository, metrics(0.8))
    target = tmp_path_factory.mktemp("shallow") / "clone"
    git(repository, "clone", "--quiet", "--depth=1", repository.as_uri(), str(target))
    monkeypatch.chdir(target)
    found = exposure.count("t", metrics(0.8), 0.95, 0.5)
    assert (found.judged, found.complete) == (1, False)
