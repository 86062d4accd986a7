"""README is true: its commands are run in a fresh clone on nothing but Python, Git and make."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project, copy_tree

README = (ROOT / "README.md").read_text()
BLOCKS = [block.split("\n") for block in re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)]


@pytest.fixture
def clone(tmp_path: Path) -> Project:
    """A clone with nothing set up, on a PATH without uv."""
    fresh = Project(tmp_path / "clone")
    fresh.path.mkdir()
    copy_tree(fresh.path)
    return fresh


def test_the_first_command_on_a_fresh_clone(clone: Project) -> None:
    """`make` sets everything up and ends with a report; again it does no work, and Git sees nothing new."""
    assert BLOCKS[0] == ["make       # sets up, trains, quantizes, evaluates, reports", "make test  # runs every test"]
    path = ":".join(part for part in os.environ["PATH"].split(":") if part and not (Path(part) / "uv").exists())
    first = clone.run("make", timeout=900, PATH=f"{clone.path}/.venv/bin:{path}")
    assert "fetching uv-" in first
    assert f"report: {clone.path}/reports/index.html" in first
    changed = subprocess.check_output(["git", "status", "--porcelain"], cwd=clone.path, text=True)
    # Another kind of processor rounds differently and gives other weights.
    assert {line.split()[-1] for line in changed.splitlines()} <= {"dvc.lock", "artifacts/metrics.json"}
    made = {path: path.stat().st_mtime_ns for path in (clone.path / "artifacts").rglob("*")}
    started = time.monotonic()
    second = clone.run("make", PATH=f"{clone.path}/.venv/bin:{path}")
    assert "Running stage" not in second
    assert "Data and pipelines are up to date" in second
    assert {path: path.stat().st_mtime_ns for path in (clone.path / "artifacts").rglob("*")} == made
    assert time.monotonic() - started < 60
    assert clone.run("make", "-n", "test").splitlines()[-1].startswith("pytest ")


def test_every_make_target_that_is_named_exists() -> None:
    """README, the contributor's page and the other documents name no target that the Makefile lacks."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"`make ([a-z0-9-]+)", document.read_text()))
        named |= set(re.findall(r"^make ([a-z0-9-]+)", document.read_text(), re.MULTILINE))
        assert named <= targets, document.name


def test_every_path_that_is_named_exists() -> None:
    """Links lead somewhere, and the tree shows what there is."""
    for link in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / link).exists(), link
    tree = re.search(r"```text\n(.*?)\n```", README, re.DOTALL)
    assert tree
    for name in re.findall(r"^(\S+)", tree[1], re.MULTILINE):
        assert (ROOT / name).exists() or name in {"data/", "artifacts/", "reports/"}, name


def test_commands_are_those_that_system_tests_run(clone: Project) -> None:
    """Own data is test_own_data.py, a change that is judged test_review.py, the forge and a tag test_forge.py.

    Promotion is test_release.py, a deploy test_servers.py, backup test_recovery.py, all beside this.
    """
    assert shutil.which("make")
    assert BLOCKS[1][0].startswith("make data SOURCE=")
    assert BLOCKS[1][1].startswith("$EDITOR params.yaml")
    assert BLOCKS[1][2].startswith("make")
    assert BLOCKS[2][0].startswith("git switch --create")
    assert BLOCKS[2][2].startswith("make review BASE=main")
    assert [line.split("  ")[0] for line in BLOCKS[3]] == [
        "make forge",
        "git push forge main",
        "git push -o merge_request.create forge better",
        "git push forge better:main",
    ]
    assert [line.split("  ")[0] for line in BLOCKS[5]] == [
        '.venv/bin/python -m pipelines.delivery.tag v1.2.3 --message "Better at sevens"',
        "git push --atomic origin v1.2.3 classifier@v1.2.3",
        "make promote ENV=staging TAG=v1.2.3",
        "make deploy ENV=staging",
        "make rollback ENV=production",
        "make backup",
    ]
    plan = clone.run("make", "-n", "data", "SOURCE=photos", "REPLACE=yes").splitlines()[-1]
    assert plan.split() == ["python", "-m", "pipelines.training.ingest", '"$SOURCE"', "--replace"]


def test_the_commands_of_the_page_on_releases() -> None:
    """A tag is pushed in test_forge.py; the rest is run in test_release.py, test_recovery.py and conftest.py."""
    page = (ROOT / "docs" / "releases.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)\n```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.split("\n")]
    assert [re.split(r" {2,}#", line)[0] for line in lines] == [
        '.venv/bin/python -m pipelines.delivery.tag v1.2.3 --message "Better at sevens"',
        "git push --atomic origin v1.2.3 classifier@v1.2.3",
        "make verify-release TAG=v1.2.3",
        "make promote ENV=staging TAG=v1.2.3",
        "make promote ENV=production TAG=v1.2.3",
        "make rollback ENV=production",
        "make history ENV=production",
        "openssl ecparam -name prime256v1 -genkey -noout -out signing.pem",
        "openssl ec -in signing.pem -pubout -out release.pem",
        "python3 -m tarfile --extract bundle.tar unpacked",
        "python3 unpacked/v1.2.3/server/install.py /opt/digits/v1.2.3",
        "SLIPWAY_MODEL=v1.2.3 SLIPWAY_PUBLIC_KEY=release.pem /opt/digits/v1.2.3/bin/python -m serving",
        ".venv/bin/python -m pipelines.recovery.protect",
        "make backup",
        "make restore-drill",
        "make restore INTO=../digits",
        "make restore INTO=../digits REFILL=yes",
    ]


def test_the_commands_of_the_page_on_servers() -> None:
    """They are run in test_servers.py; what devices run is taken from the page by test_devices.py."""
    page = (ROOT / "docs" / "servers.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)\n```", page, re.DOTALL) for line in block.split("\n")]
    assert [re.split(r" {2,}#", line)[0] for line in lines] == [
        "make deploy ENV=production",
        "make status ENV=production",
        "make rollback ENV=production",
        ".venv/bin/python -m pipelines.delivery.servers deploy production -- --check --diff",
        ".venv/bin/python -m pipelines.delivery.servers site production",
        ".venv/bin/python -m benchmarks.servers",
    ]


def test_the_commands_of_the_page_on_retraining() -> None:
    """They are run in test_retraining.py, with Alertmanager's configuration of the page, and where their names say."""
    page = (ROOT / "docs" / "retraining.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)\n```", page, re.DOTALL) for line in block.split("\n")]
    assert [re.split(r" {2,}#", line)[0] for line in lines] == [
        "make retrain",
        "make retrain SOURCE=s3://bucket/new",
        ".venv/bin/python -m pipelines.operations.receiver --port 9095",
        "make feedback LABELS=labels.csv LOG=access.log",
        "openssl genpkey -algorithm X25519 -out samples.pem",
        "openssl pkey -in samples.pem -pubout -outform DER | base64",
        "make samples SAMPLES=samples KEY=samples.pem INTO=labelled",
        ".venv/bin/python -m pipelines.local_forge triggers --port 9096",
    ]


def test_the_commands_of_the_page_on_kubernetes() -> None:
    """They are run in test_image.py, test_registry.py, test_clusters.py and tests/pipelines/clusters/test_check.py.

    `kubectl kustomize` stands for `kubectl apply --kustomize` there.
    """
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)\n```", page, re.DOTALL) for line in block.split("\n")]
    assert [re.split(r" {2,}#", line)[0] for line in lines] == ["make check-k8s"]
    for folder in re.findall(r"--kustomize (k8s\S+)", page):
        subprocess.run(["kubectl", "kustomize", ROOT / folder], check=True, capture_output=True)
