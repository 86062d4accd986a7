"""`make review` in a repository of its own, with real Git, DVC and training."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.conftest import Project, git

FLOORS = (
    ("accuracy: {floor: 0.95", "accuracy: {floor: 0.1"),
    ("macro_f1: {floor: 0.95", "macro_f1: {floor: 0.1"),
    ("log_loss: {ceiling: 0.2", "log_loss: {ceiling: 9.0"),
    ("calibration_error: {ceiling: 0.05", "calibration_error: {ceiling: 0.9"),
    ("slices: {floor: 0.8", "slices: {floor: 0.0"),
    ("quantization: {agreement: 0.98, margin: 0.02}", "quantization: {agreement: 0.1, margin: 0.9}"),
    ("robustness: {floor: 0.5", "robustness: {floor: 0.0"),
    ("invariance: {floor: 0.95", "invariance: {floor: 0.0"),
    ("direction: {floor: 0.9", "direction: {floor: 0.0"),
)


@pytest.fixture
def judged(small_project: Project) -> Project:
    """One commit with a model that was trained for an epoch, and floors that it meets."""
    for old, new in FLOORS:
        small_project.edit("params.yaml", old, new)
    (small_project.path / "golden.yaml").write_text("[]\n")
    small_project.run("make", "repro")
    git(small_project.path, "add", "--all")
    git(small_project.path, "commit", "--quiet", "--amend", "--message", "First")
    return small_project


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
    assert "no-such is no revision here: `git fetch origin main`" in review(judged, "--base", "no-such", expect=1)
    assert "the branch is new" in review(judged, "--base", "0" * 40)

    judged.edit("params.yaml", "seed: 1", "seed: 2")
    assert "run `make repro`" in review(judged, "--base", "main", expect=1)
    judged.run("make", "repro")
    reports = {path: path.read_bytes() for path in (judged.path / "reports").iterdir()}
    lost = next(
        line.split(": ")[1]
        for line in git(judged.path, "show", "HEAD:dvc.lock").split("path: artifacts/model.tflite\n")[1].splitlines()
        if "md5: " in line
    )
    (judged.path / ".dvc" / "cache" / "files" / "md5" / lost[:2] / lost[2:]).unlink()
    output = review(judged, "--base", "main", expect=1)
    assert "artifacts/model.tflite of the incumbent at main is in neither DVC's cache nor its remote" in output
    assert "dvc push" in output
    assert {path: path.read_bytes() for path in (judged.path / "reports").iterdir()} == reports

    (judged.path / ".git" / "shallow").write_text(git(judged.path, "rev-parse", "HEAD"))
    assert "shallow clone: `git fetch --unshallow`" in review(judged, "--base", "origin/main", expect=1)


def test_a_change_of_test_set_and_shape(judged: Project) -> None:
    """With more test data and larger images the incumbent is run again on the originals, and the report says so."""
    judged.edit("params.yaml", "height: 12", "height: 14")
    judged.edit("params.yaml", "test: 0.25", "test: 0.3")
    judged.run("make", "repro")
    process = judged.start("python", "-m", "pipelines.review", "--base", "main")
    output, _ = process.communicate(timeout=300)
    assert process.returncode in {0, 3, 4}, output
    assert "the incumbent was run on this one" in output
    notes = " ".join(read(judged)["notes"])
    assert "are in the incumbent's training set" in notes
    assert "takes other images (12x12x1)" in notes
    assert read(judged)["changes"]["data"]["test"][0] < read(judged)["changes"]["data"]["test"][1]
