"""What may not be pushed: main takes what a merge request's pipeline has passed, releases stay as they are."""

from __future__ import annotations

from pipelines.local_forge.events import MAIN, MERGE_REQUEST, Push
from pipelines.local_forge.records import Records
from pipelines.review.repository import git


def refusal(push: Push, records: Records) -> str | None:
    """Return why a push is not taken, or None when it is."""
    if push.tag and not push.is_creation:
        return f"{push.tag} is a release: it neither moves nor goes away; tag another version"
    if push.branch != MAIN or push.is_creation:
        return None
    if push.is_deletion or not _has(push.new, push.old):
        return f"{MAIN} is protected: it only goes forward; `git fetch`, then rebase or merge"
    return _judged(push, records)


def _judged(push: Push, records: Records) -> str | None:
    # What was judged is what is merged: that commit itself, or its merge that adds nothing.
    parents = git("rev-list", "--parents", "-1", push.new).split()[1:]
    candidates = [push.new]
    adds_nothing = len(parents) == 2 and parents[0] == push.old and _tree(parents[1]) == _tree(push.new)
    if adds_nothing and _has(parents[1], push.old):
        candidates.append(parents[1])
    if not any(records.passed(commit, push.old) for commit in candidates):
        return (
            f"{MAIN} is protected: no pipeline of a merge request has passed for {push.new[:10]}; "
            f"`git push -o {MERGE_REQUEST}` its branch, brought up to date with {MAIN}, and merge when it is green"
        )
    return None


def _has(commit: str, ancestor: str) -> bool:
    return not git("rev-list", "--max-count=1", ancestor, f"^{commit}")


def _tree(commit: str) -> str:
    return git("rev-parse", f"{commit}^{{tree}}").strip()
