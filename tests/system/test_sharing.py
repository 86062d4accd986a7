"""Results shared through a DVC remote on a real S3 service: taken over, checked, and never in the way when it fails."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project, clone_project, git, need, wait_for
from tests.system.conftest import copy_of, make_bucket, share
from tests.system.gateway import PROGRAMS, Gateway, gateway

BUCKET = "results"
NOBODY = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
FORK = {"GITLAB_CI": "true", "CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_PROJECT_ID": "2"}
Clone = Callable[[str], Project]


@pytest.fixture(scope="module")
def shared(finished: Project, s3: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was trained and whose results are in a bucket; tests clone it and leave it as it is."""
    project = copy_of(finished, tmp_path_factory.mktemp("shared") / "project")
    share(project, s3, BUCKET)
    return project


@pytest.fixture
def clone(shared: Project, tmp_path: Path) -> Clone:
    return lambda name: clone_project(shared, tmp_path / name)


def save(project: Project, message: str) -> None:
    git(project.path, "commit", "--quiet", "--all", "--message", message)


def change(project: Project, examples: int) -> None:
    """Make what quantization depends on another: it takes less time than training, and a remote makes no difference."""
    project.edit("params.yaml", "calibration_examples: 300", f"calibration_examples: {examples}")


def lock(project: Project) -> str:
    return (project.path / "dvc.lock").read_text()


def test_a_clone_takes_over_what_another_made(clone: Clone, s3: Gateway) -> None:
    """Unchanged, nothing runs and data/ is not fetched; changed, another clone's results come from the run cache."""
    other = clone("other")
    output = other.run("make", "repro", **s3.environment())
    assert "Running stage" not in output
    assert (other.path / "artifacts" / "model.tflite").exists()
    assert not (other.path / "data").exists()
    assert "the DVC remote has all that it names" in other.run("make", "check-lock", **s3.environment())

    change(other, 200)
    told = other.run("make", "check-lock", expect=2, **s3.environment())
    assert "quantize: quantize in params.yaml" in told
    assert "run `make repro`" in told
    assert "Running stage 'quantize'" in other.run("make", "repro", "PUSH=yes", **s3.environment())
    third = clone("third")
    change(third, 200)
    output = third.run("make", "repro", **s3.environment())
    assert "Stage 'quantize' is cached" in output
    assert "Running stage 'quantize'" not in output
    assert lock(third) == lock(other)


def test_what_a_job_takes_over(shared: Project, s3: Gateway, tmp_path: Path) -> None:
    """With artifacts/ of another job and nothing else the remote is not asked; a byte that differs is noticed."""
    job = copy_of(shared, tmp_path / "job")
    for name in ("data", ".dvc/cache"):
        shutil.rmtree(job.path / name)
    assert job.run("make", "repro", **s3.environment() | NOBODY) == "Data and pipelines are up to date.\n"
    assert not (job.path / "data").exists()
    with (job.path / "artifacts" / "reference.json").open("a") as file:
        file.write(" ")
    assert "Running stage 'train'" not in job.run("make", "repro", **s3.environment())
    assert "up to date" in job.run("make", "repro", **s3.environment() | NOBODY)


def test_a_forgotten_push(clone: Clone, s3: Gateway) -> None:
    """The check names what is in no remote and what to do; the model is made again, with the same bytes."""
    forgetful = clone("forgetful")
    change(forgetful, 240)
    forgetful.run("make", "repro", **s3.environment())
    save(forgetful, "Made, not pushed")
    other = clone_project(forgetful, forgetful.path.parent / "other")
    told = other.run("make", "check-lock", expect=2, **s3.environment())
    assert "dvc.lock names what the DVC remote lacks: artifacts/model.tflite" in told
    assert "dvc push --run-cache" in told
    assert "Running stage 'quantize'" in other.run("make", "repro", "PUSH=yes", **s3.environment())
    assert lock(other) == lock(forgetful)
    assert "has all" in other.run("make", "check-lock", **s3.environment())


@pytest.mark.parametrize(
    ("wrong", "of_repro", "of_check"),
    [
        (NOBODY, "no credentials for the DVC remote", "credentials"),
        (NOBODY | FORK, "no credentials for the DVC remote", ""),
        ({"AWS_SECRET_ACCESS_KEY": "guess"}, "warning: going on without the DVC remote", "cannot be read"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "warning: going on without the DVC remote", "cannot be read"),
    ],
    ids=["no credentials", "a fork", "wrong credentials", "nobody there"],
)
def test_a_remote_that_cannot_be_read(
    shared: Project, s3: Gateway, wrong: dict[str, str], of_repro: str, of_check: str
) -> None:
    """What is here is used and nothing is stored; the check fails, but for a fork, which has no credentials at all."""
    environment = s3.environment() | wrong | {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(shared.path)}
    before = lock(shared)
    assert of_repro in shared.run("make", "repro", "PUSH=yes", **environment)
    assert lock(shared) == before
    told = shared.run("make", "check-lock", expect=2 if of_check else 0, **environment)
    assert (of_check or "is checked after the merge") in told


def test_a_remote_that_goes_away(shared: Project, clone: Clone, tmp_path: Path) -> None:
    """When it dies under a stage, the stage ends well and what it made is kept, with a warning."""
    need(*PROGRAMS)
    with gateway(tmp_path) as s3:
        make_bucket(s3, BUCKET)
        shared.run("dvc", "push", "--run-cache", **s3.environment())
        other = clone("other")
        change(other, 250)
        process = other.start("make", "repro", "PUSH=yes", **s3.environment())
        output = ""
        assert process.stdout
        for line in process.stdout:
            output += line
            if "Running stage 'quantize'" in line:
                s3.stop()
        assert process.wait() == 0, output
        assert "warning: going on without the DVC remote" in output
        assert (other.path / "artifacts" / "model.tflite").exists()
        assert "cannot be read" in other.run("make", "check-lock", expect=2, **s3.environment())


def test_two_at_once(clone: Clone, s3: Gateway) -> None:
    """Two pipelines of one change on one remote end with the same lock, and the remote has all of it."""
    clones = [clone("one"), clone("two")]
    output: dict[str, str] = {}

    def work(project: Project) -> None:
        change(project, 260)
        output[project.path.name] = project.run("make", "repro", "PUSH=yes", **s3.environment())

    threads = [threading.Thread(target=work, args=(project,)) for project in clones]
    for thread in threads:
        thread.start()
    wait_for(lambda: not any(thread.is_alive() for thread in threads), "both pipelines", timeout=300)
    assert set(output) == {"one", "two"}
    assert lock(clones[0]) == lock(clones[1])
    assert "has all" in clones[0].run("make", "check-lock", **s3.environment())


def test_branches_that_both_ran(finished: Project, tmp_path: Path) -> None:
    """Git merges their locks without a conflict; what neither made is noticed, and only that is run."""
    project = copy_of(finished, tmp_path / "project")
    driver = next(line for line in (project.path / "Makefile").read_text().splitlines() if "merge.dvc-lock" in line)
    git(
        project.path,
        "config",
        "merge.dvc-lock.driver",
        driver.split('"')[1].replace("$(CURDIR)", str(project.path)).replace("$(abspath $(VENV))", str(ROOT / ".venv")),
    )
    for branch, old, new in (
        ("quantized", "calibration_examples: 300", "calibration_examples: 200"),
        ("evaluated", "confidence: 0.95\n  calibration_bins", "confidence: 0.9\n  calibration_bins"),
    ):
        git(project.path, "switch", "--quiet", "--create", branch, "main")
        project.edit("params.yaml", old, new)
        project.run("make", "repro")
        save(project, branch)
    assert "dvc.lock was merged: run `make repro`" in project.run("git", "merge", "--no-edit", "quantized")
    assert "dvc.lock is not what code, data and params.yaml make" in project.run("make", "check-lock", expect=2)
    output = project.run("make", "repro")
    assert "Running stage 'evaluate'" in output
    assert "Running stage 'quantize'" not in output
    save(project, "dvc.lock")
    project.run("make", "check-lock")
