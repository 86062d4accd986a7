"""GitHub's workflows, their commands executed by an emulation of its runner (tests/system/actions.py), on a real S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project, git
from tests.pipelines.delivery import github
from tests.pipelines.review import forge as stand_in
from tests.system.actions import Actions, Event
from tests.system.conftest import copy_of, photographs, share, with_few_checks, with_releases
from tests.system.gateway import Gateway
from tests.system.osv import osv

JOBS = {"lint", "check-lock", "repro", "review", "test", "required-checks", "pages"}


@pytest.fixture(scope="module")
def project(finished: Project, s3: Gateway, signing_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a model on its main, in a bucket, and a place for releases."""
    made = with_few_checks(copy_of(finished, tmp_path_factory.mktemp("actions") / "project"))
    share(made, s3, "actions")
    with_releases(made, s3, "actions-releases", signing_key)
    git(made.path, "clone", "--quiet", "--bare", str(made.path), str(made.path.parent / "repository.git"))
    git(made.path, "remote", "add", "origin", str(made.path.parent / "repository.git"))
    return made


@pytest.fixture
def forge() -> Iterator[stand_in.Forge]:
    with stand_in.serve(stand_in.GitHub) as running:
        yield running


@pytest.fixture
def actions(
    project: Project, s3: Gateway, signing_key: Path, forge: stand_in.Forge, tmp_path: Path
) -> Iterator[Actions]:
    names = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN")
    api = {name: value for name, value in forge.environment(tmp_path).items() if name in names}
    variables = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/ci", "AWS_REGION": "eu-west-1"}
    endpoint = {"AWS_ENDPOINT_URL_S3": s3.endpoint, "NO_PROXY": "127.0.0.1"}
    with osv() as database:
        extra = endpoint | {"OSV_URL": database}
        repository = project.path.parent / "repository.git"
        secrets = {"SIGNING_KEY": signing_key.read_text()}
        yield Actions(repository, tmp_path, s3.environment(), variables, api, extra, secrets)


def push(project: Project, branch: str, old: str, new: str) -> None:
    """Push a branch from main with a change of params.yaml alone."""
    git(project.path, "switch", "--quiet", "--force-create", branch, "main")
    project.edit("params.yaml", old, new)
    git(project.path, "commit", "--quiet", "--all", "--message", branch)
    git(project.path, "push", "--quiet", "--force", "origin", branch)


def test_a_push_to_main(actions: Actions, project: Project) -> None:
    """Nothing is trained that the remote has, every job passes, and the report is published."""
    before = git(project.path, "rev-parse", "main~1").strip()
    run = actions.dispatch(Event("push", "refs/heads/main", before=before))
    assert run.results == dict.fromkeys(JOBS, "success") | {"deploy": "skipped"}, run.logs  # DEPLOY is not set
    assert "Running stage" not in run.logs["repro"]
    assert (run.artifacts / "github-pages" / "metrics.json").exists()


def test_a_pull_request(actions: Actions, project: Project, forge: stand_in.Forge) -> None:
    """A regression fails its review and so the check that protects main; its report is the comment and the summary."""
    push(project, "worse", "learning_rate: 0.003", "learning_rate: 0.0000001")
    run = actions.dispatch(Event("pull_request", "refs/heads/worse"))
    passed = {"lint", "repro", "test"}
    assert run.results == dict.fromkeys(JOBS, "failure") | dict.fromkeys(passed, "success") | {"pages": "skipped"}
    assert "Fails on accuracy" in forge.bodies()[0]
    assert "Fails on accuracy" in run.summaries["review"]
    assert "train in params.yaml" in run.logs["check-lock"]
    assert (run.artifacts / "report" / "index.html").exists()
    again = actions.dispatch(Event("pull_request", "refs/heads/worse"))
    assert "Running stage 'train'" not in again.logs["repro"]
    assert len(forge.bodies()) == 1


def test_a_pull_request_of_a_fork(actions: Actions, project: Project, forge: stand_in.Forge) -> None:
    """With no credentials and a token that only reads, the verdict is the same and stands in the job's summary."""
    forge.read_only = True
    push(project, "idea", "learning_rate: 0.003", "learning_rate: 0.0000002")
    run = actions.dispatch(Event("pull_request", "refs/heads/idea", fork=True))
    assert run.results["review"] == run.results["required-checks"] == "failure"
    assert "no credentials for the DVC remote" in run.logs["repro"]
    assert "Fails on accuracy" in run.summaries["review"], run.logs["review"]
    assert "made again from that commit" in run.summaries["review"]
    assert not forge.bodies()


def test_a_tag(actions: Actions, project: Project) -> None:
    """A tag that is a version runs the release alone; another runs nothing."""
    git(project.path, "tag", "--annotate", "--force", "v0.1.0", "--message", "First", "main")
    git(project.path, "push", "--quiet", "--force", "origin", "v0.1.0")
    with github.serve() as releases:
        actions.api = {name: releases.environment()[name] for name in actions.api}
        run = actions.dispatch(Event("push", "refs/tags/v0.1.0"))
    assert run.results == {"release": "success"}, run.logs
    assert set(releases.files) == {"bundle.tar", "provenance.json", "model.sig"}
    assert releases.releases[0]["draft"] is False
    assert "signed by release.pem" in run.logs["release"]
    git(project.path, "push", "--quiet", "--force", "origin", "v0.1.0:refs/tags/vacation")
    assert actions.dispatch(Event("push", "refs/tags/vacation")).results == {}


def test_the_clock(actions: Actions, project: Project, s3: Gateway) -> None:
    """The schedule audits packages, checks the lock, runs the tests and backs up where that is wanted.

    A weakness that became known fails it.
    """
    passed = dict.fromkeys(("audit", "check-lock", "test"), "success")
    run = actions.dispatch(Event("schedule", "refs/heads/main"))
    assert run.results == passed | {"backup": "skipped", "retrain": "skipped"}, run.logs
    project.run("python", "-m", "pipelines.recovery.protect", **s3.environment())
    actions.variables["BACKUP"] = "yes"
    with osv(weak="pillow") as database:
        actions.extra["OSV_URL"] = database
        run = actions.dispatch(Event("schedule", "refs/heads/main"))
    assert run.results == passed | {"audit": "failure", "backup": "success", "retrain": "skipped"}, run.logs
    assert "are new; 0 backups and 0 files were let go" in run.logs["backup"]
    assert "pillow" in run.logs["audit"]


def test_an_alert(actions: Actions, tmp_path: Path) -> None:
    """The event that the receiver sends trains on new data and pushes one branch, with the alert's words; no other job.

    The pull request itself is tested in tests/pipelines/delivery/test_merge_request.py: this remote is a folder.
    """
    git(actions.repository, "config", "receive.advertisePushOptions", "true")
    actions.variables["RETRAIN_SOURCE"] = str(photographs(tmp_path / "photographs", 60))
    given = {"RETRAIN_ALERT": "Drift", "RETRAIN_SUMMARY": '`id` "; exit 1; $(id)', "RETRAIN_ENVIRONMENT": "production"}
    run = actions.dispatch(Event("repository_dispatch", "refs/heads/main", given=given))
    assert run.results == {"retrain": "success"}, run.logs
    text = git(actions.repository, "show", "--no-patch", "--format=%B", "retrain/production")
    assert text.startswith("Retrain for production: Drift")
    assert "exit 1; \\$(id)" in text
    assert (run.artifacts / "report" / "review.md").exists()
    again = actions.dispatch(Event("repository_dispatch", "refs/heads/main", given=given))
    assert "retrain/production is open already" in again.logs["retrain"]
