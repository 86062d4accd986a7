"""The program that reads .gitlab-ci.yml and runs its jobs: gitlab-ci-local, on Node from a Python wheel.

https://github.com/firecow/gitlab-ci-local. Its version and hash are in .ci/forge/package-lock.json, Node's in uv.lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipelines.command import PipelineError
from pipelines.review.repository import git

ROOT = Path(__file__).parents[2]
PINS = ROOT / ".ci" / "forge"
NODE = Path("node")
PROGRAM = Path("node_modules", "gitlab-ci-local", "dist", "index.js")
OPTIONS = ("--force-shell-executor", "--shell-isolation", "--no-artifacts-to-source", "--no-color")
STATE = ".gitlab-ci-local"
HIDDEN = ("AWS_", "CI_", "GITHUB_", "GITLAB_", "GIT_", "MAKE", "MFLAGS", "RETRAIN", "VIRTUAL_ENV")
"""A job knows what the forge tells it, and no more of its owner's environment than programs need."""


def install(folder: Path) -> None:
    """Bring Node and the runner into a folder, as pinned; nothing happens when they are there."""
    if missing := [name for name in ("git", "make", "rsync") if shutil.which(name) is None]:
        raise PipelineError(f"a forge needs {', '.join(missing)}: install it with the system's packages")
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(folder / NODE)}
    _run("uv", "sync", "--quiet", "--locked", "--only-group", "forge", folder=ROOT, environment=environment)
    pinned = (PINS / "package-lock.json").read_bytes()
    installed = folder / "package-lock.json"
    if (folder / PROGRAM).exists() and installed.exists() and installed.read_bytes() == pinned:
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINS / name, folder / name)
    node = folder / NODE / "bin"
    path = {"PATH": f"{node}:{os.environ['PATH']}"}
    _run(str(node / "npm"), "ci", "--no-audit", "--no-fund", "--silent", folder=folder, environment=os.environ | path)


def prepare(forge: Path, project: Path) -> dict[str, str]:
    """Make the environment that a clone's packages need, and return the variables that its jobs get from the forge."""
    # One for all jobs of the same packages: to make one takes longer than most jobs.
    packages = hashlib.sha256((project / "uv.lock").read_bytes() + (project / "pyproject.toml").read_bytes())
    place = forge / "environments" / packages.hexdigest()[:16]
    place.parent.mkdir(exist_ok=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    # The owner's own keys are not the project's; an empty file is what all of botocore's users take for none.
    (nothing := forge / "empty").touch()
    hidden = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), str(nothing))
    environment = own | hidden | {"AWS_EC2_METADATA_DISABLED": "true", "UV_PROJECT_ENVIRONMENT": str(place)}
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".synced").exists():
            _run("make", "--silent", f"{place}/.synced", folder=project, environment=environment)
    return environment


def start(
    forge: Path, project: Path, variables: Mapping[str, str], environment: Mapping[str, str], port: int
) -> subprocess.Popen[str]:
    """Start the pipeline of a clone; its output comes line by line, and its exit code is 0 when no job failed."""
    cache, state = forge / "cache", project / STATE
    cache.mkdir(exist_ok=True)
    state.mkdir()
    (state / "cache").symlink_to(cache)
    # The runner takes the address of the API from the remote of this name.
    git("-C", str(project), "remote", "add", "gcl-origin", f"http://localhost:{port}/local/forge.git")
    given = [part for name, value in variables.items() for part in ("--variable", f"{name}={value}")]
    if "CI_COMMIT_BRANCH" not in variables:
        given += ["--unset-variable", "CI_COMMIT_BRANCH"]
    program = [str(forge / "runner" / NODE / "bin" / "node"), str(forge / "runner" / PROGRAM), *OPTIONS]
    return subprocess.Popen(  # noqa: S603 (our own arguments)
        [*program, "--ignore-predefined-vars", ",".join(variables), *given],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what is canceled ends with all its jobs
    )


def _run(*command: str, folder: Path, environment: Mapping[str, str]) -> None:
    try:
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)  # noqa: S603
    except FileNotFoundError as error:
        raise PipelineError(f"{command[0]} is not there: {error}") from error
    except subprocess.CalledProcessError as error:
        raise PipelineError(f"`{' '.join(command)}` failed: {error.stderr.strip()[-2000:]}") from error
