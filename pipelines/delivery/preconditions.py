"""What must hold before a tag may become a release."""

from __future__ import annotations

from pipelines.command import PipelineError
from pipelines.delivery import tags
from pipelines.review import repository
from pipelines.review.repository import git

MAIN = "main"


def check(tag: str) -> str | None:
    """Return the release that a tag is judged against: the last final one of another commit, None without any.

    Raises PipelineError when this working tree is not what the tag names, or the tag may not be released.
    """
    version = tags.parse(tag)
    commit = repository.commit(f"refs/tags/{tag}")
    if commit is None:
        raise PipelineError(f"there is no tag {tag}: `git tag --annotate {tag}`")
    if git("cat-file", "-t", f"refs/tags/{tag}").strip() != "tag":
        raise PipelineError(f"{tag} does not say who made it: delete it, and `git tag --annotate {tag}`")
    if commit != repository.commit("HEAD"):
        raise PipelineError(f"{tag} is another commit than this one: `git switch --detach {tag}`")
    if changed := git("status", "--porcelain", "--untracked-files=no"):
        raise PipelineError(f"the working tree is not what {tag} names: commit or restore\n{changed.rstrip()}")
    if remote := repository.remote():
        shared = f"{remote}/{MAIN}"
        if not repository.commit(shared):
            raise PipelineError(f"{shared} is not known here: `git fetch {remote} {MAIN}` tells whether {tag} is on it")
        if git("rev-list", "--max-count=1", commit, f"^{shared}"):
            raise PipelineError(f"{tag} is not on {shared}: merge its branch, fetch, and tag what came of it")
    earlier = {tags.parse(name): name for name in git("tag", "--merged", f"{commit}").split() if tags.is_release(name)}
    del earlier[version]
    newest = max(earlier, default=None)
    if newest and newest > version:
        raise PipelineError(f"{tag} comes before {newest}, which is out already: choose a higher version")
    # A tag whose review failed may be on this very commit, and losses of candidates must not add up.
    final = {each: name for each, name in earlier.items() if each.is_final and repository.commit(name) != commit}
    return final[max(final)] if final else None
