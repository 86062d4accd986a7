"""`make review` in a repository of its own, with real Git, DVC and training."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Project, git
from tests.system.conftest import copy_of


@pytest.fixture
def judged(finished: Project, tmp_path: Path) -> Project:
    return copy_of(finished, tmp_path / "project")


def read(project: Project) -> dict[str, Any]:
    return json.loads((project.path / "reports" / "review.json").read_text())


def review(project: Project, *options: str, expect: int = 0) -> str:
    return project.run("python", "-m", "pipelines.review", *options, expect=expect)


def test_from_the_first_commit_to_a_blocked_change(judged: Project) -> None:
    """The first model has no incumbent; nothing changed passes in seconds; a worse model is blocked with code 3."""
    output = judged.run("make", "review")
    assert "No incumbent: this is the first commit" in output
    assert read(judged)["verdict"] == "no-incumbent"

    started = time.monotonic()
    output = judged.run("make", "review", "BASE=main")
    assert time.monotonic() - started < 60
    assert "pass: No model change." in output
    assert (judged.path / "reports" / "junit.xml").exists()

    git(judged.path, "switch", "--quiet", "--create", "worse")
    judged.edit("params.yaml", "learning_rate: 0.003", "learning_rate: 0.00001")
    judged.run("make", "repro")
    git(judged.path, "commit", "--quiet", "--all", "--message", "Worse")
    output = review(judged, "--base", "main", "--name", "digits", expect=3)
    assert "nothing to comment on" in output
    found = read(judged)
    assert found["verdict"] == "fail"
    assert found["changes"]["params"] == {"train.learning_rate": [0.003, 0.00001]}
    assert found["exposure"]["judged"] == 2
    text = (judged.path / "reports" / "review.md").read_text()
    assert "`digits`: fail" in text
    page = (judged.path / "reports" / "index.html").read_text()
    assert "Examples that flipped" in page
    assert page.count("<figcaption>Incumbent: ") == 2
    judged.run("make", "review", "BASE=main", expect=2)  # make's own code
    assert git(judged.path, "status", "--porcelain") == ""


def test_what_cannot_be_judged_is_said(judged: Project) -> None:
    """An unknown revision, a shallow clone, stale artifacts and a lost model are errors, never a pass."""
    git(judged.path, "commit", "--quiet", "--allow-empty", "--message", "Second")
    for base in ("no-such", "", "0" * 40, "-x"):
        assert "is no revision here: `git fetch origin main`" in review(judged, f"--base={base}", expect=1)
    lock = (judged.path / "dvc.lock").read_text()
    for broken in ("[]\n", "stages: null\n", "stages: {a: null}\n", "{"):
        commit(judged, "broken", "dvc.lock", broken)
        (judged.path / "dvc.lock").write_text(lock)
        assert "dvc.lock at broken cannot be read" in review(judged, "--base", "broken", expect=1)
    commit(judged, "untrained", "dvc.lock", "stages: {}\n")
    (judged.path / "dvc.lock").write_text(lock)
    assert "dvc.lock at untrained records no model.tflite" in review(judged, "--base", "untrained", expect=1)
    git(judged.path, "reset", "--quiet", "--hard", "main")

    judged.run("dvc", "freeze", "train")
    assert "dvc.yaml freezes train" in review(judged, "--base", "main", expect=1)
    git(judged.path, "checkout", "--quiet", "dvc.yaml")
    judged.edit("data.dvc", "md5: ", "md5: 0")
    (judged.path / "data").rename(judged.path.parent / "data")
    assert "(prepare): run `make repro`" in review(judged, "--base", "main", expect=1)
    (judged.path.parent / "data").rename(judged.path / "data")
    git(judged.path, "checkout", "--quiet", "data.dvc")

    judged.edit("params.yaml", "seed: 1", "seed: 2")
    assert "(train, quantize): run `make repro`" in review(judged, "--base", "main", expect=1)
    judged.run("make", "report")
    reports = {path: path.read_bytes() for path in (judged.path / "reports").iterdir()}
    lost = next(
        line.split(": ")[1]
        for line in git(judged.path, "show", "main:dvc.lock").split("path: artifacts/model.tflite\n")[1].splitlines()
        if "md5: " in line
    )
    (judged.path / ".dvc" / "cache" / "files" / "md5" / lost[:2] / lost[2:]).unlink()
    judged.edit("Makefile", "dvc.lock: $(ENVIRONMENT)", "dvc.lock: gone")
    git(judged.path, "commit", "--quiet", "--message", "No way back", "--", "Makefile")
    output = review(judged, "--base", "HEAD", expect=1)
    assert "artifacts/model.tflite of the incumbent at HEAD is in neither DVC's cache nor its remote" in output
    assert "it cannot be made again" in output
    assert {path: path.read_bytes() for path in (judged.path / "reports").iterdir()} == reports
    process = judged.start("python", "-m", "pipelines.review", "--base", "HEAD~1")
    output, _ = process.communicate(timeout=300)
    assert process.returncode in {0, 3, 4}, output
    assert "Running stage 'quantize'" in output
    assert "Running stage 'train'" not in output
    assert any("made again from that commit" in note for note in read(judged)["notes"])
    assert git(judged.path, "worktree", "list").count("\n") == 1

    (judged.path / ".git" / "shallow").write_text(git(judged.path, "rev-parse", "HEAD"))
    assert "shallow clone: `git fetch --unshallow`" in review(judged, "--base", "origin/main", expect=1)


def commit(project: Project, branch: str, name: str, content: str) -> None:
    """Put a file's content on a branch from main, and come back to where it was."""
    git(project.path, "switch", "--quiet", "--force-create", branch, "main")
    (project.path / name).write_text(content)
    git(project.path, "commit", "--quiet", "--all", "--message", branch)
    git(project.path, "switch", "--quiet", "--detach", "main")


def test_a_change_is_judged_by_the_limits_it_found(judged: Project) -> None:
    """Looser limits and fewer golden examples take effect after the merge, not for the change that brings them."""
    table = pq.read_table(judged.path / "artifacts" / "predictions.parquet")
    answers = np.stack(table["quantized"].to_numpy(zero_copy_only=False)).argmax(axis=1)
    wrong = next(row for row, label in enumerate(table["label"].to_pylist()) if str(answers[row]) != label)
    example = {"id": table["id"][wrong].as_py(), "label": table["label"][wrong].as_py(), "why": "clear"}
    (judged.path / "golden.yaml").write_text(json.dumps([example]))
    judged.edit("params.yaml", "accuracy: {floor: 0.1", "accuracy: {floor: 0.999")
    git(judged.path, "commit", "--quiet", "--all", "--message", "Strict")
    (judged.path / "golden.yaml").write_text("[]")
    judged.edit("params.yaml", "accuracy: {floor: 0.999", "accuracy: {floor: 0.0")
    output = review(judged, "--base", "main", expect=3)
    assert "Limits in force are those of main" in output
    assert "metrics.accuracy.floor 0.999 to 0.0" in " ".join(read(judged)["notes"])
    failed = {finding["rule"] for finding in read(judged)["findings"] if finding["verdict"] == "fail"}
    assert failed == {"accuracy", "golden"}
    (judged.path / "golden.yaml").write_text("{}")
    assert "golden.yaml: Expected `array`" in review(judged, "--base", "main", expect=1)


def test_a_change_of_test_set_and_shape(judged: Project, tmp_path: Path) -> None:
    """In a folder of a larger repository, with more test data and larger images, the incumbent is run on originals."""
    mono = Project(tmp_path / "mono" / "digits")
    mono.path.parent.mkdir()
    judged.path.rename(mono.path)
    shutil.rmtree(mono.path / ".git")
    git(mono.path.parent, "init", "--quiet", "--initial-branch=main")
    git(mono.path.parent, "add", "--all")
    git(mono.path.parent, "commit", "--quiet", "--message", "One of several projects")
    mono.edit("params.yaml", "height: 12", "height: 14")
    mono.edit("params.yaml", "test: 0.25", "test: 0.3")
    mono.run("make", "repro")
    process = mono.start("python", "-m", "pipelines.review", "--base", "main")
    output, _ = process.communicate(timeout=300)
    assert process.returncode in {0, 3, 4}, output
    found = read(mono)
    assert found["name"] == "digits"
    notes = " ".join(found["notes"])
    assert "so it was run on it" in notes
    assert "are in the incumbent's training set" in notes
    assert "takes other images (12x12x1)" in notes
    assert found["changes"]["data"]["test"][0] < found["changes"]["data"]["test"][1]
    moved = Project(tmp_path / "mono" / "moved")
    git(mono.path.parent, "mv", "digits", "moved")
    git(mono.path.parent, "commit", "--quiet", "--all", "--message", "Moved")
    assert "digits/dvc.lock of HEAD~1 is gone" in review(moved, "--base", "HEAD~1", expect=1)
