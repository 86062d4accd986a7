"""GitLab and GitHub give the same guarantees: the same make targets for the same events, pinned and unprivileged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

GITLAB: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
KEYWORDS = {"workflow", "stages", "variables", "default", "include"}
GITLAB_JOBS = {name: job for name, job in GITLAB.items() if name not in KEYWORDS and not name.startswith(".")}
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
FILES = [ROOT / ".gitlab-ci.yml", *sorted((ROOT / ".github").rglob("*.yml"))]
SCHEMAS = {".gitlab-ci.yml": "gitlab-ci", "dependabot.yml": "dependabot", "action.yml": "github-actions"}
# What differs: the variables that hold the incumbent's revision and the tag.
TARGET = re.compile(r"make ([a-z-]+)((?: [A-Z]+=\S+)*)")


def target(command: str) -> tuple[str, tuple[str, ...]]:
    """Return the make target of a job's only command, with the names of what it is given."""
    found = TARGET.fullmatch(command)
    assert found, f"{command!r} is not one make target"
    return found[1], tuple(sorted(part.split("=")[0] for part in found[2].split()))


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def of_github(event: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the jobs of an event with their targets."""
    found = {}
    for workflow in WORKFLOWS.values():
        triggers = workflow[True]  # YAML 1.1 reads the key `on` as true
        wanted = triggers.get("push") or {}
        matches = {
            "main": "branches" in wanted,
            "tag": "tags" in wanted,
            "merge request": "pull_request" in triggers,
            "schedule": "schedule" in triggers,
            "alert": "repository_dispatch" in triggers,
        }
        for name, job in workflow["jobs"].items():
            makes = [command for command in commands(job) if command.startswith("make ")]
            if matches[event] and makes and not (event == "merge request" and name == "pages"):
                found[name] = target(makes[0])
    return found


def of_gitlab(event: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the same of GitLab: which rules hold is asked of its runner in tests/system/test_forge.py."""
    always, change, main = {"check-lock", "test"}, {"lint", "repro", "review"}, {"pages", "deploy"}
    assert always | change | main | {"audit", "backup", "release", "retrain"} == set(GITLAB_JOBS)
    selected = {
        "main": always | change | main,
        "merge request": always | change,
        "schedule": always | {"audit", "backup", "retrain"},
        "alert": {"retrain"},
        "tag": {"release"},
    }[event]
    return {name: target(job["script"]) for name, job in GITLAB_JOBS.items() if name in selected}


@pytest.mark.parametrize("event", ["alert", "main", "merge request", "schedule", "tag"])
def test_both_forges_do_the_same(event: str) -> None:
    """Jobs have the same names and call the same targets with the same variables."""
    assert of_github(event) == of_gitlab(event)


def test_every_job_is_one_target_that_exists() -> None:
    """No logic lives in a forge's file: a job prepares the machine at most, then makes."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in GITLAB_JOBS.values():
        assert target(job["script"])[0] in targets
        assert set(job.get("before_script", [])) <= {".ci/token", ".ci/packages"}
    for workflow in WORKFLOWS.values():
        for name, job in workflow["jobs"].items():
            rest = [command for command in commands(job) if command != ".ci/packages"]
            if name == "required-checks":
                assert rest == ["exit 1"]
            elif rest:
                (command,) = rest
                assert target(command)[0] in targets


def test_the_required_check_needs_what_a_merge_request_runs() -> None:
    """Branch protection names one job, which leaves none out."""
    assert set(WORKFLOWS["ci.yml"]["jobs"]["required-checks"]["needs"]) == set(of_github("merge request"))


def test_actions_are_pinned() -> None:
    """By the commit, with the version beside it; a tag can be moved by whoever takes over an action."""
    for path in (ROOT / ".github").rglob("*.yml"):
        for action, comment in re.findall(r"uses: (\S+)(.*)", path.read_text()):
            if not action.startswith("./"):
                assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40}", action), action
                assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_one_action_has_one_version() -> None:
    """The workflows agree on each action's commit."""
    versions: dict[str, set[str]] = {}
    for path in (ROOT / ".github").rglob("*.yml"):
        for action, commit in re.findall(r"uses: ([\w-]+/[\w-]+)\S*@(\S+)", path.read_text()):
            versions.setdefault(action, set()).add(commit)
    assert all(len(found) == 1 for found in versions.values()), versions


def test_permissions_are_least() -> None:
    """A workflow has none, a job what it names; only a review writes to pull requests, a release announces itself."""
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {}
        assert "pull_request_target" not in workflow[True]
        for name, job in workflow["jobs"].items():
            rights = {right for right, level in job["permissions"].items() if level == "write"}
            own = {"review": {"pull-requests"}, "pages": {"pages"}, "release": {"contents"}}
            allowed = {"id-token", "security-events"} | own.get(name, set())
            assert rights <= allowed, name
            for step in job["steps"]:
                if "checkout" in step.get("uses", ""):
                    assert step["with"]["persist-credentials"] is False


def test_what_runs_is_canceled_or_not() -> None:
    """A newer push of a change cancels the older; main, deploys, releases and schedules run to their end."""
    assert all("concurrency" in workflow for workflow in WORKFLOWS.values())
    group = WORKFLOWS["ci.yml"]["concurrency"]["group"]
    assert group == "ci-${{ github.event_name == 'pull_request' && github.ref || github.sha }}"
    assert all(
        WORKFLOWS[f"{name}.yml"]["concurrency"]["cancel-in-progress"] is False
        for name in ("deploy", "release", "retrain")
    )
    assert GITLAB["default"]["interruptible"] is True
    for name in ("deploy", "release", "retrain"):
        assert (GITLAB_JOBS[name]["interruptible"], GITLAB_JOBS[name]["resource_group"]) == (False, name)
    assert any(rule.get("auto_cancel") == {"on_new_commit": "none"} for rule in GITLAB["workflow"]["rules"])


def test_the_tag_has_one_grammar() -> None:
    """What starts a release in either forge is what pipelines/delivery/tags.py takes."""
    (pattern,) = (rule["if"].split("=~ /")[1][:-1] for rule in GITLAB_JOBS["release"]["rules"])
    globs = WORKFLOWS["release.yml"][True]["push"]["tags"]
    for name, right in {
        "v1.2.3": True,
        "v1.2.3-rc.1": True,
        "v1.2": False,
        "v1.2.3-beta": False,
        "x1.2.3": False,
    }.items():
        assert (re.search(pattern, name) is not None) is right
        assert any(re.fullmatch(glob.replace(".", r"\."), name) for glob in globs) is right


def test_files_are_short() -> None:
    """A forge's file fits on two screens."""
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 120, path.name


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "zizmor.yml"], ids=lambda path: path.name)
def test_files_fit_their_schemas(path: Path) -> None:
    """Each file is valid for the schema that its forge publishes."""
    kind = SCHEMAS.get(path.name, "github-workflows")
    subprocess.run(["check-jsonschema", "--builtin-schema", f"vendor.{kind}", path], check=True)


def test_zizmor_finds_nothing() -> None:
    """At its strictest persona, but for the exceptions with a reason in .github/zizmor.yml."""
    result = subprocess.run(
        ["zizmor", "--offline", "--strict-collection", "--persona", "auditor", "--format", "json", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert json.loads(result.stdout) == []


def test_a_secret_is_found(tmp_path: Path) -> None:
    """The scan of `make lint` sees a key that a later commit has taken away again, and does not print it."""
    rule = (ROOT / "Makefile").read_text().split("kingfisher scan . ")[1].split(" $(")[0].split()
    secret = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    git("init", "--quiet")
    (tmp_path / "settings.py").write_text(f'TOKEN = "{secret}"\n')
    git("add", "--all")
    git("commit", "--quiet", "--message", "Oops")
    (tmp_path / "settings.py").write_text("TOKEN = None\n")
    git("commit", "--quiet", "--all", "--message", "Nobody saw")
    kingfisher = str(Path(sys.executable).with_name("kingfisher"))
    result = subprocess.run([kingfisher, "scan", ".", *rule], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "settings.py" in result.stdout
    assert secret not in result.stdout + result.stderr
