"""The Git repository as one file: all branches and tags, of the forge where there is one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.command import PipelineError, warn
from pipelines.delivery.preconditions import MAIN
from pipelines.review import repository
from pipelines.review.repository import git


@contextmanager
def mirror() -> Iterator[Path]:
    """Give a bare repository with the branches and tags that a team shares, without a remote those that are here.

    Raises PipelineError in a shallow clone.
    """
    if repository.is_shallow():
        raise PipelineError("this clone is shallow, a backup needs all of it: `git fetch --unshallow`")
    branches = ["+refs/heads/*:refs/heads/*"]
    if remote := repository.remote():
        branches = [f"+refs/remotes/{remote}/*:refs/heads/*", f"^refs/remotes/{remote}/HEAD"]
        try:
            git("fetch", "--quiet", "--prune", "--tags", remote)
        except PipelineError as error:
            warn(f"Git is saved as this clone knows it: {error}")
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "mirror.git")
        git("init", "--quiet", "--bare", f"--initial-branch={MAIN}", str(bare))
        git("-C", str(bare), "fetch", "--quiet", str(repository.root()), *branches, "+refs/tags/*:refs/tags/*")
        if f"refs/heads/{MAIN}" not in references(bare):
            raise PipelineError(f"there is no branch {MAIN} to save")
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
