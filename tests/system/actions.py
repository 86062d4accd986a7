"""An emulation of GitHub Actions: it reads .github/workflows and executes the `run:` steps, with stand-ins for actions.

GitHub's runner is not to be had offline. What is emulated: triggers, `needs`, `if`, `env`, expressions as far as the
workflows use them, caches with their keys, artifacts, job summaries, and that a fork gets no secrets.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT, git

Job = dict[str, Any]


@dataclass(frozen=True)
class Event:
    name: str
    """push, pull_request, schedule or repository_dispatch."""
    ref: str
    fork: bool = False
    """Whether a pull request comes from a fork."""
    before: str = ""
    """Where a pushed branch was; empty for a new one."""
    given: dict[str, str] = field(default_factory=dict)
    """The payload of a repository_dispatch."""


@dataclass
class Run:
    """What came of an event: the result and the log of each job."""

    results: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, str] = field(default_factory=dict)
    artifacts: Path = Path()


@dataclass
class Actions:
    repository: Path
    folder: Path
    cloud: dict[str, str]
    """What a job that may take on the AWS role has in its environment."""
    variables: dict[str, str]
    """Of the repository: `vars`."""
    api: dict[str, str]
    """What tells jobs of the forge's API, with the job's token."""
    extra: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def dispatch(self, event: Event) -> Run:
        """Run all jobs of all workflows that an event starts."""
        self.runs += 1
        place = self.folder / f"run-{self.runs}"
        run = Run(artifacts=place / "artifacts")
        run.artifacts.mkdir(parents=True)
        source = place / "source"
        git(self.folder, "clone", "--quiet", str(self.repository), str(source))
        git(source, "fetch", "--quiet", "origin", f"+{event.ref}:refs/tested")
        git(source, "switch", "--quiet", "--detach", "refs/tested")
        for path in sorted((source / ".github" / "workflows").glob("*.yml")):
            workflow = yaml.safe_load(path.read_text())
            jobs: dict[str, Job] = workflow["jobs"]
            has_commands = any("run" in step for job in jobs.values() for step in job["steps"])
            if has_commands and starts(workflow[True], event):  # YAML 1.1 reads the key `on` as true
                for name, job in jobs.items():
                    _Job(self, event, run, source, path.name, name, job).execute()
        return run


def starts(triggers: dict[str, Any], event: Event) -> bool:
    if event.name not in triggers:
        return False
    wanted = triggers[event.name]
    if event.name != "push":
        return True
    kind, name = ("tags", event.ref.removeprefix("refs/tags/"))
    if event.ref.startswith("refs/heads/"):
        kind, name = ("branches", event.ref.removeprefix("refs/heads/"))
    patterns = [pattern.replace(".", r"\.").replace("*", "[^/]*") for pattern in wanted.get(kind, [])]
    return any(re.fullmatch(pattern, name) for pattern in patterns)


@dataclass
class _Job:
    actions: Actions
    event: Event
    run: Run
    source: Path
    workflow: str
    name: str
    job: Job
    failed: bool = False

    def __post_init__(self) -> None:
        self.place = self.source.parent / "jobs" / self.name
        self.log: list[str] = []
        self.environment: dict[str, str] = {}
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, dict[str, Any]] = {}

    @property
    def workspace(self) -> Path:
        return self.place / "workspace"

    def execute(self) -> None:
        needed = self.job.get("needs", [])
        self.needed = [self.run.results[each] for each in ([needed] if isinstance(needed, str) else needed)]
        condition = self.job.get("if", "success()")
        implied = True if "always()" in condition else all(each == "success" for each in self.needed)
        if not (implied and self.evaluate(condition)):
            self.run.results[self.name] = "skipped"
            return
        self.workspace.mkdir(parents=True)
        for step in self.job["steps"]:
            self.step(step)
        self.run.results[self.name] = "failure" if self.failed else "success"
        self.run.logs[self.name] = "\n".join(self.log)
        summary = self.place / "summary.md"
        self.run.summaries[self.name] = summary.read_text() if summary.exists() else ""
        shutil.rmtree(self.workspace)

    def step(self, step: dict[str, Any]) -> None:
        condition = step.get("if", "success()")
        if (self.failed and "always()" not in condition) or not self.evaluate(condition):
            return
        given = {key: self.fill(value) for key, value in step.get("with", {}).items()}
        if "run" in step:
            self.command(step["run"], {key: str(self.fill(value)) for key, value in step.get("env", {}).items()})
        elif step["uses"].startswith("./"):
            action = yaml.safe_load((self.workspace / step["uses"] / "action.yml").read_text())
            defaults = {key: value.get("default", "") for key, value in action["inputs"].items()}
            self.inputs = defaults | given
            for inner in action["runs"]["steps"]:
                self.step(inner)
            self.outputs[step["id"]] = {key: self.fill(each["value"]) for key, each in action["outputs"].items()}
        else:
            action = "_".join(step["uses"].split("@")[0].split("/")[1:])
            getattr(self, action.replace("-", "_"))(given)

    def command(self, script: str, environment: dict[str, str]) -> None:
        hidden = ("AWS_", "CI_", "GITHUB_", "GITLAB_", "MAKE", "MFLAGS", "PYTEST_", "VIRTUAL_ENV")
        own = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        own.pop("PYTHONDONTWRITEBYTECODE", None)
        own |= {
            # Not as GitHub has it, but so that .ci/packages installs nothing on a person's machine.
            "CI": os.environ.get("CI", "false"),
            "GITHUB_ACTIONS": "true",
            "GITHUB_REF": "refs/pull/7/merge" if self.event.name == "pull_request" else self.event.ref,
            "GITHUB_REF_NAME": self.event.ref.split("/", 2)[2],
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": str(self.actions.runs),
            "GITHUB_SERVER_URL": "https://github.example.com",
            "GITHUB_WORKFLOW_REF": f"team/digits/.github/workflows/{self.workflow}@{self.event.ref}",
            "GITHUB_STEP_SUMMARY": str(self.place / "summary.md"),
            "GITHUB_EVENT_PATH": str(self.place / "event.json"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(self.place / "empty"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.place / "empty"),
            "UV_PROJECT_ENVIRONMENT": str(ROOT / ".venv"),
            "MYPY_CACHE_DIR": str(self.actions.repository.parent / "mypy"),
        }
        (self.place / "empty").touch()
        (self.place / "event.json").write_text(json.dumps(self.payload()))
        api = {key: value for key, value in self.actions.api.items() if key != "GITHUB_TOKEN"}
        result = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=self.workspace,
            env=own | api | self.actions.extra | self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.log += [f"$ {script}", result.stdout]
        self.failed = self.failed or result.returncode != 0

    def payload(self) -> dict[str, Any]:
        if self.event.name == "repository_dispatch":
            return {"action": "retrain", "client_payload": self.event.given}
        if self.event.name != "pull_request":
            return {"before": self.event.before or "0" * 40, "created": not self.event.before}
        return {
            "number": 7,
            "pull_request": {"number": 7, "user": {"login": "somebody"}, "head": {"repo": {"fork": self.event.fork}}},
        }

    # The stand-ins, by the name of their action.

    def checkout(self, given: dict[str, Any]) -> None:
        assert given["persist-credentials"] is False
        git(self.place, "clone", "--quiet", str(self.actions.repository), str(self.workspace))
        git(self.workspace, "fetch", "--quiet", "origin", f"+{self.event.ref}:refs/tested")
        git(self.workspace, "switch", "--quiet", "--detach", "refs/tested")

    def cache_restore(self, given: dict[str, Any]) -> None:
        (caches := self.actions.folder / "caches").mkdir(exist_ok=True)
        exact = caches / given["key"]
        older = sorted(caches.glob(f"{given['restore-keys']}*"), key=lambda path: path.stat().st_mtime)
        for found in [exact] if exact.exists() else older[-1:]:
            shutil.copytree(found, self.workspace / given["path"], dirs_exist_ok=True)
        self.outputs["cache"] = {"cache-primary-key": given["key"]}

    def cache_save(self, given: dict[str, Any]) -> None:
        target = self.actions.folder / "caches" / given["key"]
        if not target.exists():  # what is saved once stays as it is
            shutil.copytree(self.workspace / given["path"], target)

    def configure_aws_credentials(self, given: dict[str, Any]) -> None:
        assert given["role-to-assume"]
        assert self.job["permissions"]["id-token"] == "write"
        self.environment |= self.actions.cloud

    def upload_artifact(self, given: dict[str, Any]) -> None:
        for path in given["path"].split():
            target = self.run.artifacts / given["name"] / (path if "\n" in given["path"] else "")
            found = self.workspace / path
            if found.is_dir():
                shutil.copytree(found, target, dirs_exist_ok=True)
            elif found.exists() or given.get("if-no-files-found") != "ignore":
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, target)

    def download_artifact(self, given: dict[str, Any]) -> None:
        shutil.copytree(self.run.artifacts / given["name"], self.workspace, dirs_exist_ok=True)

    def upload_pages_artifact(self, given: dict[str, Any]) -> None:
        self.upload_artifact({"name": "github-pages", "path": given["path"]})

    def deploy_pages(self, _: dict[str, Any]) -> None:
        assert (self.run.artifacts / "github-pages" / "index.html").exists()
        assert self.job["permissions"].items() >= {"pages": "write", "id-token": "write"}.items()

    # Expressions: https://docs.github.com/actions/reference/workflows-and-actions/expressions

    def fill(self, value: object) -> object:
        """Return a value with each `${{ expression }}` in it evaluated."""
        if not isinstance(value, str):
            return value
        whole = re.fullmatch(r"\$\{\{(.*)\}\}", value)
        if whole and "${{" not in whole[1]:
            return self.evaluate(whole[1])
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(self.evaluate(found[1])), value)

    def evaluate(self, expression: str) -> Any:
        """Turn the expression into Python's words; the workflows are our own."""
        parts = re.split(r"('[^']*')", expression.strip().removeprefix("${{").removesuffix("}}"))
        for index, part in enumerate(parts):
            if not part.startswith("'"):
                named = re.sub(r"\b(github|vars|secrets|inputs|needs|steps)((?:\.[\w*-]+)+)", r"look('\1\2')", part)
                parts[index] = named.replace("&&", " and ").replace("||", " or ").replace("!look", " not look")
        text = "".join(parts).strip()
        functions = {"look": self.look, "contains": lambda items, item: item in items, "hashFiles": self.hash_files}
        return eval(text, {"always": lambda: True, "success": lambda: True, **functions})

    def look(self, path: str) -> Any:
        if path == "needs.*.result":
            return self.needed
        event = {"event_name": self.event.name, "ref": self.event.ref, "event": self.payload()}
        may_write = self.job["permissions"].keys() & {"pull-requests"} or self.job["permissions"]["contents"] == "write"
        token = self.actions.api.get("GITHUB_TOKEN") if may_write else "read-only"
        contexts: Any = {
            "github": event | {"token": "read-only" if self.event.fork else token},
            "vars": self.actions.variables,
            "secrets": {} if self.event.fork else self.actions.secrets,
            "inputs": self.inputs,
            "steps": {step: {"outputs": outputs} for step, outputs in self.outputs.items()},
        }
        for part in path.split("."):
            contexts = (contexts or {}).get(part, "")
        return contexts

    def hash_files(self, *patterns: str) -> str:
        files = sorted({file for pattern in patterns for file in self.workspace.glob(pattern) if file.is_file()})
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
