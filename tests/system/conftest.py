"""A project that was trained once, for all tests that begin with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import boto3
import pytest

from tests.conftest import Project, copy_project, git, shrink
from tests.system.gateway import Gateway

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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One commit with a model that was trained for an epoch, and floors that it meets. Tests copy it: `copy_of`."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    shrink(project)
    for old, new in FLOORS:
        project.edit("params.yaml", old, new)
    (project.path / "golden.yaml").write_text("[]\n")
    project.run("make", "repro")
    git(project.path, "add", "--all")
    git(project.path, "commit", "--quiet", "--amend", "--message", "First")
    return project


def copy_of(project: Project, path: Path) -> Project:
    """Copy all of a project, what it made and its cache among it."""
    shutil.copytree(project.path, path, symlinks=True)
    for key, value in (("user.name", "Test"), ("user.email", "test@example.com")):
        git(path, "config", key, value)
    return Project(path)


def with_few_checks(project: Project) -> Project:
    """Leave few tests and types to check: a pipeline that ran this very suite would never end."""
    for name in ("contracts", "pipelines", "serving"):
        shutil.rmtree(project.path / "tests" / name)
    for file in [*(project.path / "tests").glob("system/test_*.py"), *(project.path / "tests").glob("model/test_*.py")]:
        if file.name != "test_inputs.py":
            file.unlink()
    project.edit(
        "pyproject.toml",
        'files = ["model", "pipelines", "serving", "benchmarks", ".ci/bootstrap.py"]',
        'files = ["model"]',
    )
    return project


def share(project: Project, s3: Gateway, bucket: str) -> None:
    """Make a new bucket the project's DVC remote, push what there is, and commit."""
    make_bucket(s3, bucket)
    project.run("dvc", "remote", "add", "--default", "store", f"s3://{bucket}/digits")
    project.run("dvc", "config", "remote.store.verify", "true")
    project.run("dvc", "push", "--run-cache", **s3.environment())
    git(project.path, "commit", "--quiet", "--all", "--message", "Shared")


def make_bucket(s3: Gateway, bucket: str) -> None:
    keys = {"aws_access_key_id": s3.access_key, "aws_secret_access_key": s3.secret_key}
    boto3.client("s3", endpoint_url=s3.endpoint, **keys).create_bucket(Bucket=bucket)
