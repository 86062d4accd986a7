"""From an alert to a merge request: real Alertmanager, real receiver, the forge on one machine, real training."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from pipelines.operations import stack
from tests.conftest import ROOT, Project, git, need, wait_for
from tests.once import Once
from tests.system.conftest import copy_of, make_forge, photographs, share, with_few_checks
from tests.system.gateway import Gateway

TOKEN = "0123456789abcdef0123456789abcdef"
BRANCH = "retrain/production"


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        finally:
            process.kill()
            assert process.stdout
            process.stdout.close()


@pytest.fixture
def project(finished: Project, s3: Gateway, once: Once, tmp_path: Path) -> Project:
    """A project with a forge, whose main has a model; new data waits where the forge's variable says."""
    need("rsync")
    made = with_few_checks(copy_of(finished, tmp_path / "project"))
    share(made, s3, f"retraining-{stack.free_port()}")
    make_forge(made, once)
    with (made.path / ".forge" / "variables.env").open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in s3.environment().items())
        file.write(f"RETRAIN_SOURCE={photographs(tmp_path / 'photographs', 300)}\n")
    git(made.path, "push", "--quiet", "-o", "ci.skip", "forge", "main")
    return made


@pytest.fixture
def alertmanager(project: Project, tmp_path: Path) -> Iterator[str]:
    """Yield the address of an Alertmanager with the project's configuration, which leads to receiver and forge."""
    need("prometheus-alertmanager")
    triggers, receiver = stack.free_port(), stack.free_port()
    (tmp_path / "token").write_text(TOKEN)
    config = yaml.safe_load((ROOT / "monitoring" / "alertmanager.yml").read_text())
    config["route"]["routes"][0] |= {"group_wait": "1s", "group_interval": "1s"}
    *people, retraining = config["receivers"]
    (hook,) = retraining["webhook_configs"]
    assert hook["url"] == "http://127.0.0.1:9095/alerts"
    hook["url"] = f"http://127.0.0.1:{receiver}/alerts"
    hook["http_config"]["authorization"]["credentials_file"] = f"{tmp_path}/token"
    config["receivers"] = [{"name": each["name"]} for each in people] + [retraining]
    with (
        running(project.start("python", "-m", "pipelines.local_forge", "triggers", "--port", str(triggers))) as forge,
        running(
            project.start(
                "python",
                "-m",
                "pipelines.operations.receiver",
                f"--port={receiver}",
                RECEIVER_TOKEN=TOKEN,
                GITLAB_API_URL=f"http://127.0.0.1:{triggers}/api/v4",
                GITLAB_PROJECT="local/forge",
                GITLAB_TRIGGER_TOKEN=wait_for_token(project),
                NO_PROXY="127.0.0.1",
            )
        ),
        stack.alertmanager(tmp_path / "alertmanager", yaml.safe_dump(config)) as address,
    ):
        wait_for(lambda: answers(f"http://127.0.0.1:{receiver}/healthz"), "the receiver")
        assert forge.poll() is None
        yield address


def wait_for_token(project: Project) -> str:
    file = project.path / ".forge" / "trigger-token"
    wait_for(file.exists, "the forge's trigger token")
    return file.read_text()


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.ConnectionError:
        return False


def fire(alertmanager: str, instance: str, **labels: str) -> None:
    """Fire an alert as Prometheus does."""
    alert = {
        "labels": {"alertname": "InputDrift", "environment": "production", "instance": instance} | labels,
        "annotations": {"summary": "Input brightness has PSI 1.3 against @team $CI_JOB_TOKEN, limit 0.2"},
        "startsAt": datetime.now(UTC).isoformat(),
    }
    requests.post(f"{alertmanager}/api/v2/alerts", json=[alert], timeout=5).raise_for_status()


def pipelines(project: Project, kind: str) -> list[dict[str, Any]]:
    """Return the records of pipelines of a kind that have ended, the oldest first."""
    records = [json.loads(path.read_text()) for path in (project.path / ".forge").glob("pipelines/*/status.json")]
    found = [each for each in records if each["event"]["kind"] == kind and each["state"] != "running"]
    return sorted(found, key=lambda each: each["number"])


def log(project: Project, pipeline: dict[str, Any]) -> str:
    return (project.path / ".forge" / "pipelines" / str(pipeline["number"]) / "logs" / "retrain.log").read_text()


def test_from_drift_to_one_merge_request(project: Project, alertmanager: str) -> None:
    """An alert trains on the new data and opens a merge request that the gate judges; a second alert opens none."""
    forge = project.path / ".forge" / "repository.git"
    before = git(project.path, "status", "--porcelain")
    fire(alertmanager, "s0", action="page")  # another action
    fire(alertmanager, "s1", action="retrain", release="v1.0.0")
    wait_for(lambda: bool(pipelines(project, "trigger")), "the pipeline of the alert", timeout=900)
    (first,) = pipelines(project, "trigger")
    said = log(project, first)
    assert first["jobs"] == {"retrain": "success"}, said
    assert "Running stage 'train'" in said

    (request,) = (project.path / ".forge" / "merge-requests").iterdir()
    assert (request / "branch").read_text() == BRANCH
    title, _, text = git(forge, "show", "--no-patch", "--format=%B", BRANCH).partition("\n")
    assert title == "Retrain for production: InputDrift"
    assert "release v1.0.0: Input brightness has PSI 1.3 against" in text
    assert "@team" not in text  # nobody is called
    assert "CI_JOB_TOKEN" not in text or "$" not in text
    assert re.search(r"The gate says (pass|fail|inconclusive): ", text)
    changed = git(forge, "diff", "--name-only", "main", BRANCH).split()
    assert changed == ["artifacts/metrics.json", "data.dvc", "dvc.lock"]
    (judged,) = pipelines(project, "merge_request")
    assert judged["jobs"].keys() == {"lint", "check-lock", "repro", "review", "test"}
    assert judged["jobs"]["check-lock"] == "success"  # all that it names is in the remote
    (note,) = request.glob("*.md")
    assert "accuracy" in note.read_text()

    fire(alertmanager, "s2", action="retrain", release="v1.0.1")
    wait_for(lambda: len(pipelines(project, "trigger")) == 2, "the pipeline of the second alert", timeout=900)
    second = pipelines(project, "trigger")[1]
    assert second["jobs"] == {"retrain": "success"}
    assert f"{BRANCH} is open already" in log(project, second)
    assert "Running stage" not in log(project, second)
    assert len(list((project.path / ".forge" / "merge-requests").iterdir())) == 1
    assert len(pipelines(project, "merge_request")) == 1
    assert git(project.path, "status", "--porcelain") == before
    assert "prunable" not in git(project.path, "worktree", "list")


def test_by_hand(finished: Project, s3: Gateway, tmp_path: Path) -> None:
    """Nothing new opens nothing; what fails leaves all as it was; a person's own retraining asks for a request."""
    project = copy_of(finished, tmp_path / "project")
    share(project, s3, f"by-hand-{stack.free_port()}")
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(project.path), str(bare))
    git(bare, "config", "receive.advertisePushOptions", "true")
    git(project.path, "remote", "add", "origin", str(bare))
    project.edit("params.yaml", "epochs: 1", "epochs: 2")  # not of main, not touched
    before = {path: path.read_bytes() for path in project.path.glob("*") if path.is_file()}
    assert "nothing new since" in project.run("make", "retrain", **s3.environment())

    (broken := tmp_path / "broken" / "1").mkdir(parents=True)
    (broken / "x.png").write_text("no picture")
    output = project.run("make", "retrain", f"SOURCE={broken.parent}", expect=2, **s3.environment())
    assert "`make data` failed, see above; nothing was opened" in output
    output = project.run("make", "retrain", RETRAIN_ENVIRONMENT="moon", expect=2, **s3.environment())
    assert "there is no environment 'moon'" in output
    assert git(bare, "branch", "--list", "retrain/*") == ""

    source = photographs(tmp_path / "photographs", 60)
    output = project.run("make", "retrain", f"SOURCE={source}", **s3.environment())
    assert f"pushed as {BRANCH}" in output
    assert "Asked for by a person or the clock" in git(bare, "show", "--no-patch", BRANCH)
    assert f"{BRANCH} is open already" in project.run("make", "retrain", f"SOURCE={source}", **s3.environment())
    assert {path: path.read_bytes() for path in before} == before
    assert git(project.path, "worktree", "list").count("\n") == 1


def test_from_the_released_weights(finished: Project, s3: Gateway, tmp_path: Path) -> None:
    """A warm start says in the request what it began with, and others can train the same, and anew."""
    project = copy_of(finished, tmp_path / "project")
    git(project.path, "tag", "--annotate", "v1.0.0", "--message", "First")
    project.edit("params.yaml", "start: scratch", "start: released")
    git(project.path, "commit", "--quiet", "--all", "--message", "Warm starts")
    share(project, s3, f"warm-{stack.free_port()}")
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(project.path), str(bare))
    git(bare, "config", "receive.advertisePushOptions", "true")
    git(project.path, "remote", "add", "origin", str(bare))
    output = project.run("make", "retrain", expect=2, **s3.environment())
    assert "production runs no release to start from: set retrain.start in params.yaml to scratch" in output

    project.edit("environments/production/serving.env", "RELEASE=", "RELEASE=v1.0.0")
    git(project.path, "commit", "--quiet", "--all", "--message", "Promote v1.0.0 to production")
    git(project.path, "push", "--quiet", "origin", "HEAD:main")
    assert f"pushed as {BRANCH}" in project.run("make", "retrain", **s3.environment())
    changed = git(bare, "diff", "--name-only", "main", BRANCH).split()
    weights = "initial/v1.0.0.weights.h5"
    assert changed == [
        "artifacts/metrics.json",
        "dvc.lock",
        "initial/.gitignore",
        f"{weights}.dvc",
        "params.yaml",
    ]
    (recorded,) = set(re.findall(r"model\.weights\.h5\n +hash: md5\n +md5: (\w+)", git(bare, "show", "main:dvc.lock")))
    assert f"md5: {recorded}" in git(bare, "show", f"{BRANCH}:{weights}.dvc")
    assert f"initial_weights: {weights} # a .weights.h5 file" in git(bare, "show", f"{BRANCH}:params.yaml")

    clone = Project(tmp_path / "clone")
    git(tmp_path, "clone", "--quiet", "--branch", BRANCH, str(bare), str(clone.path))
    (clone.path / ".venv").symlink_to(ROOT / ".venv")
    assert "Running stage 'train'" not in clone.run("make", "repro", **s3.environment())
    clone.edit("params.yaml", "seed: 1", "seed: 2")
    assert "Running stage 'train'" in clone.run("make", "repro", **s3.environment())
