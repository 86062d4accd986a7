"""The incumbent made again from its commit, where its files are in no cache and no remote, as in the job of a fork."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.command import PipelineError
from pipelines.review import repository
from pipelines.review.repository import git

SHARED = (".tools", ".dvc/cache", ".dvc/config.local")
"""Of this project, what another commit of it needs not make again, or has no other way to know."""


def artifacts(commit: str, folder: Path) -> None:
    """Run `make repro` as it was at a commit and put its artifacts/ into a folder.

    DVC's cache is shared, so that nothing is trained that was trained here before. Raises PipelineError when it fails.
    """
    with worktree(commit) as project:
        print(f"making the model of {commit[:10]} again, whose files are in no cache and no remote", flush=True)
        if make(project, "repro"):
            raise PipelineError(f"`make repro` at {commit[:10]} failed, see above")
        shutil.copytree(project / "artifacts", folder, dirs_exist_ok=True)


def make(project: Path, *arguments: str) -> int:
    """Run `make` in another folder of this project, and return its exit code."""
    # Other packages than this project's get an environment of their own.
    same = (project / ".venv").exists()
    shared = ("MAKE", "MFLAGS") if same else ("MAKE", "MFLAGS", "UV_PROJECT_ENVIRONMENT")
    own = {name: value for name, value in os.environ.items() if not name.startswith(shared)}
    # One that is shared is in step; to set it up again would lead Git's merge driver into a folder that goes away.
    kept = [f"--old-file={own.get('UV_PROJECT_ENVIRONMENT') or '.venv'}/.synced"] if same else []
    command = ["make", "--silent", *kept, *arguments]
    return subprocess.run(command, cwd=project, env=own, check=False).returncode  # noqa: S603 (our own command)


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Yield the project's folder as it was at a commit, with the cache and, if it fits, the environment of this one."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            project = tree / repository.folder()
            for name in SHARED:
                if (here / name).exists() and not (project / name).exists():
                    (project / name).symlink_to(here / name)
            if _same_packages(here, project):
                (project / ".venv").symlink_to(os.environ.get("UV_PROJECT_ENVIRONMENT") or here / ".venv")
            yield project
        finally:
            git("worktree", "remove", "--force", str(tree))


def _same_packages(here: Path, there: Path) -> bool:
    names = ("uv.lock", "pyproject.toml")
    return all((here / name).read_bytes() == (there / name).read_bytes() for name in names)
