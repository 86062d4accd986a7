"""The forge on one machine: `git push` runs the real .gitlab-ci.yml with real training, on a real S3 service."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, clone_project, git, need, wait_for
from tests.once import Once
from tests.system.conftest import copy_of, make_forge, share, with_few_checks, with_releases
from tests.system.gateway import Gateway
from tests.system.osv import osv

JOBS = {"lint", "check-lock", "repro", "review", "test"}


class Forge:
    """A project with a forge, and what a push to it came to."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.path / ".forge"

    def push(self, *arguments: str, expect: int = 0) -> str:
        return self.project.run("git", "push", *arguments, expect=expect)

    def merge_request(self, branch: str) -> tuple[dict[str, Any], str]:
        """Push a branch as a merge request; return the record of its pipeline and what the pusher saw."""
        output = self.push("-o", "merge_request.create", "forge", branch)
        return self.pipeline(branch), output

    def pipeline(self, name: str) -> dict[str, Any]:
        """Return the newest pipeline of a branch or tag."""
        records = [json.loads(path.read_text()) for path in self.folder.glob("pipelines/*/status.json")]
        return max((each for each in records if each["event"]["name"] == name), key=lambda each: each["number"])

    def log(self, pipeline: dict[str, Any], job: str) -> str:
        return (self.folder / "pipelines" / str(pipeline["number"]) / "logs" / f"{job}.log").read_text()

    def notes(self, branch: str) -> list[str]:
        for path in self.folder.glob("merge-requests/*/branch"):
            if path.read_text() == branch:
                return [note.read_text() for note in path.parent.glob("*.md")]
        return []

    def commit(self, branch: str, *edits: tuple[str, str, str], base: str = "forge/main") -> None:
        git(self.project.path, "switch", "--quiet", "--force-create", branch, base)
        for edit in edits:
            self.project.edit(*edit)
        git(self.project.path, "commit", "--quiet", "--all", "--message", branch)


@pytest.fixture(scope="module")
def forge(
    finished: Project, s3: Gateway, signing_key: Path, once: Once, tmp_path_factory: pytest.TempPathFactory
) -> Forge:
    """A forge with a remote and a place for releases on S3, whose main has a model."""
    need("rsync")
    project = with_few_checks(copy_of(finished, tmp_path_factory.mktemp("forge") / "project"))
    share(project, s3, "forge")
    with_releases(project, s3, "forge-releases", signing_key)
    make_forge(project, once)
    with (project.path / ".forge" / "variables.env").open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in s3.environment().items())
        file.write(f"SIGNING_KEY={signing_key}\n")
    made = Forge(project)
    output = made.push("forge", "main")
    pipeline = made.pipeline("main")
    assert pipeline["state"] == "success", output
    assert set(pipeline["jobs"]) == JOBS | {"pages"}
    assert "Running stage" not in made.log(pipeline, "repro")
    return made


def test_a_good_change_from_request_to_release(forge: Forge, s3: Gateway) -> None:
    """A better model passes, with a comment; main takes it over without training; its tag runs the release alone."""
    forge.commit("better", ("params.yaml", "epochs: 1\n", "epochs: 3\n"))
    forge.project.run("make", "repro", **s3.environment())
    git(forge.project.path, "commit", "--quiet", "--all", "--message", "Trained for longer")
    forgotten, output = forge.merge_request("better")
    assert forgotten["jobs"]["check-lock"] == "failed"
    assert "dvc.lock names what the DVC remote lacks" in output
    assert forgotten["jobs"]["review"] == "success"
    assert "no pipeline of a merge request has passed" in forge.push("forge", "better:main", expect=1)

    git(forge.project.path, "commit", "--quiet", "--allow-empty", "--message", "The pipeline has pushed it meanwhile")
    passed, output = forge.merge_request("better")
    assert passed["state"] == "success", output
    assert "review: comment updated on merge request" in output
    (note,) = forge.notes("better")
    assert "No loss beyond the margins" in note
    assert "Running stage 'train'" not in forge.log(passed, "repro")

    before = git(forge.project.path, "rev-parse", "forge/main").strip()
    forge.push("forge", "better:main")
    assert git(forge.project.path, "rev-parse", "forge/main").strip() != before
    merged = forge.pipeline("main")
    assert merged["state"] == "success"
    assert "Running stage" not in forge.log(merged, "repro")

    command = ("python", "-m", "pipelines.delivery.tag", "v0.1.0", "--message", "Better")
    assert "git push --atomic forge v0.1.0 classifier@v0.1.0" in forge.project.run(*command, **s3.environment())
    output = forge.push("--atomic", "forge", "v0.1.0", "classifier@v0.1.0")
    released = forge.pipeline("v0.1.0")
    assert released["jobs"] == {"release": "success"}, output
    announced = forge.folder / "releases" / "v0.1.0"
    assert {path.name for path in announced.iterdir()} == {"bundle.tar", "provenance.json", "model.sig", "notes.md"}
    assert "Judged against floors and ceilings alone" in (announced / "notes.md").read_text()
    assert "v0.1.0 holds" in forge.project.run("make", "verify-release", "TAG=v0.1.0", **s3.environment())
    builder = json.loads((announced / "provenance.json").read_text())["predicate"]["runDetails"]["builder"]["id"]
    assert builder.endswith("//.gitlab-ci.yml@v0.1.0")
    git(forge.project.path, "tag", "--annotate", "--force", "v0.1.0", "--message", "Moved", "HEAD~1")
    assert "is a release: it neither moves nor goes away" in forge.push("--force", "forge", "v0.1.0", expect=1)


def test_a_regression_and_words_at_once(forge: Forge) -> None:
    """A model that did not learn fails and is not merged, its stale lock named; meanwhile new words train nothing."""
    others = Forge(clone_project(forge.project, forge.project.path.parent / "others"))
    others.folder = forge.folder
    git(others.project.path, "remote", "add", "forge", str(forge.folder / "repository.git"))
    git(others.project.path, "fetch", "--quiet", "forge")
    git(others.project.path, "switch", "--quiet", "--create", "words", "forge/main")
    with (others.project.path / "README.md").open("a") as readme:
        readme.write("\nOne more line.\n")
    git(others.project.path, "commit", "--quiet", "--all", "--message", "Words")
    results: dict[str, tuple[dict[str, Any], str]] = {}
    thread = threading.Thread(target=lambda: results.update(words=others.merge_request("words")))
    thread.start()

    forge.commit("worse", ("params.yaml", "learning_rate: 0.003", "learning_rate: 0.0000001"))
    worse, output = forge.merge_request("worse")
    assert worse["jobs"]["review"] == "failed"
    assert worse["jobs"]["check-lock"] == "failed"
    assert "train in params.yaml" in output
    assert "review: fail: Fails on accuracy" in output
    (note,) = forge.notes("worse")
    assert "Fails on accuracy" in note
    main = git(forge.folder / "repository.git", "rev-parse", "main")
    assert "no pipeline of a merge request has passed" in forge.push("forge", "HEAD:main", expect=1)
    assert git(forge.folder / "repository.git", "rev-parse", "main") == main

    wait_for(lambda: not thread.is_alive(), "the other pipeline", timeout=600)
    words, output = results["words"]
    assert words["state"] == "success", output
    assert "Running stage" not in forge.log(words, "repro")
    assert "No model change" in forge.notes("words")[0]


def test_a_fork(forge: Forge, once: Once, tmp_path: Path) -> None:
    """Without any secret the verdict is the same: both models are made there, and the report is in the artifacts."""
    fork = Forge(clone_project(forge.project, tmp_path / "fork"))
    make_forge(fork.project, once)
    (fork.folder / "variables.env").write_text("")
    git(fork.project.path, "switch", "--quiet", "--force-create", "main", "origin/main")
    fork.push("-o", "ci.skip", "forge", "main")
    fork.commit("idea", ("params.yaml", "learning_rate: 0.003", "learning_rate: 0.0000001"))
    pipeline, output = fork.merge_request("idea")
    assert "no credentials for the DVC remote" in fork.log(pipeline, "repro")
    assert "review: fail: Fails on accuracy" in output
    assert "GITLAB_TOKEN is not set" in fork.log(pipeline, "review")
    kept = fork.folder / "pipelines" / str(pipeline["number"]) / "artifacts" / "review" / "reports" / "review.md"
    assert "Fails on accuracy" in kept.read_text()
    assert "was made again from that commit" in kept.read_text()


def test_the_clock(forge: Forge) -> None:
    """A scheduled pipeline audits packages, checks the lock and runs the tests; it trains and publishes nothing."""
    with osv() as database:
        with (forge.folder / "variables.env").open("a") as file:
            file.write(f"OSV_URL={database}\n")
        forge.project.run("python", "-m", "pipelines.local_forge", "schedule", "main")
    assert forge.pipeline("main")["jobs"] == dict.fromkeys(("audit", "check-lock", "test"), "success")
