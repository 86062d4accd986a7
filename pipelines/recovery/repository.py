"""The Git repository as one file: all branches and tags, of the forge where there is one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.command import PipelineError
from pipelines.review import repository
from pipelines.review.repository import git

MAIN = "main"


@contextmanager
def mirror() -> Iterator[Path]:
    """Give a bare repository with the branches and tags that a team shares. Raises PipelineError in a shallow clone."""
    if repository.is_shallow():
        raise PipelineError("this clone is shallow, a backup needs all of it: `git fetch --unshallow`")
    with tempfile.TemporaryDirectory() as folder:
        bare, here = Path(folder, "mirror.git"), str(repository.root())
        git("init", "--quiet", "--bare", f"--initial-branch={MAIN}", str(bare))
        refspecs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        git("-C", str(bare), "fetch", "--quiet", here, *refspecs)
        if "origin" in git("remote").split():
            shared = ["+refs/remotes/origin/*:refs/heads/*", "^refs/remotes/origin/HEAD"]
            git("-C", str(bare), "fetch", "--quiet", here, *shared)
        yield bare


def references(folder: Path) -> dict[str, str]:
    """Return what branches and tags are at: for an annotated tag, the tag itself."""
    lines = git("-C", str(folder), "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
    return dict(line.split() for line in lines.splitlines())


def clone(bundle: Path, folder: Path) -> None:
    """Make a working repository of a bundle, with all its branches."""
    git("clone", "--quiet", f"--branch={MAIN}", str(bundle), str(folder))
    git("-C", str(folder), "fetch", "--quiet", "--update-head-ok", "origin", "+refs/heads/*:refs/heads/*")
    git("-C", str(folder), "remote", "remove", "origin")
