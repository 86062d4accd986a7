"""Make the release that a tag names: judged against the last final release, packed as one archive in dist/.

git tag --annotate v1.2.3 --message "Better at sevens" && make release TAG=v1.2.3

The archive holds the model and its manifest, and is the same to the byte whenever it is made again from the same files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
from pathlib import Path

from model.manifest import MODEL, NAME
from pipelines.command import PipelineError, atomic, run
from pipelines.delivery import tags
from pipelines.review import repository
from pipelines.review.repository import git
from pipelines.tracking import check_lock
from pipelines.training.dataset import ARTIFACTS

DIST = Path("dist")
MAIN = "origin/main"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="like v1.2.3")
    release(parser.parse_args().tag)


def release(tag: str) -> None:
    """Raise PipelineError when the tag may not be released; exit with the review's code when its model may not."""
    previous = check(tag)
    check_lock.check()
    # The first release has nothing to be compared with but itself: floors and ceilings hold.
    command = [sys.executable, "-m", "pipelines.review", "--base", previous or tag]
    if code := subprocess.run(command, check=False).returncode:  # noqa: S603 (our own command)
        sys.exit(code)
    archive = DIST / f"{tag}.tar"
    pack([ARTIFACTS / MODEL, ARTIFACTS / NAME], tag, archive)
    print(f"{archive}: {archive.stat().st_size:,} bytes, judged against {previous or 'floors and ceilings alone'}")


def check(tag: str) -> str | None:
    """Return the release that a tag is judged against: the last final one of another commit, None without any.

    Raises PipelineError when this working tree is not what the tag names, or the tag may not be released.
    """
    version = tags.parse(tag)
    commit = repository.commit(f"refs/tags/{tag}")
    if commit is None:
        raise PipelineError(f"there is no tag {tag}: `git tag --annotate {tag}`")
    if commit != repository.commit("HEAD"):
        raise PipelineError(f"{tag} is another commit than this one: `git switch --detach {tag}`")
    if changed := git("status", "--porcelain", "--untracked-files=no"):
        raise PipelineError(f"the working tree is not what {tag} names: commit or restore\n{changed.rstrip()}")
    if git("remote").strip() and not repository.commit(MAIN):
        raise PipelineError(f"{MAIN} is not known here: `git fetch origin main` tells whether {tag} is on it")
    if repository.commit(MAIN) and git("rev-list", "--max-count=1", commit, f"^{MAIN}"):
        raise PipelineError(f"{tag} is not on main: merge its branch, and tag what came of it")
    earlier = {tags.parse(name): name for name in git("tag", "--merged", f"{commit}").split() if tags.is_release(name)}
    del earlier[version]
    newest = max(earlier, default=None)
    if newest and newest > version:
        raise PipelineError(f"{tag} comes before {newest}, which is out already: choose a higher version")
    # A tag whose review failed may be on this very commit, and losses of candidates must not add up.
    final = {each: name for each, name in earlier.items() if each.is_final and repository.commit(name) != commit}
    return final[max(final)] if final else None


def pack(files: list[Path], folder: str, archive: Path) -> None:
    """Write a tar with the files in one folder; owners and times are left out, so that equal files give equal bytes."""
    with atomic(archive) as partial, tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files):
            member = tarfile.TarInfo(f"{folder}/{path.name}")
            member.size, member.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)


if __name__ == "__main__":
    run(main)
