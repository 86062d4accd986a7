"""Train again on main, judge what came of it, and ask for one merge request, which a person decides on.

make retrain                          on the data that data.dvc names
make retrain SOURCE=s3://bucket/new   and what is new there, as `make data SOURCE=` takes it in

All of it happens in a checkout of main beside this one, which stays as it is. RETRAIN_ENVIRONMENT (production if not
set), RETRAIN_ALERT, RETRAIN_RELEASE and RETRAIN_SUMMARY say why. Of each environment one request at most is open.
"""

from __future__ import annotations

import argparse
import os
import shutil
from contextlib import chdir
from pathlib import Path

import msgspec

from pipelines import params
from pipelines.command import PipelineError, run
from pipelines.delivery import environments, merge_request, shared
from pipelines.delivery.preconditions import MAIN
from pipelines.operations import reason, warm_start
from pipelines.operations.reason import Reason
from pipelines.review import rebuild
from pipelines.review.markdown import plain
from pipelines.review.repository import git
from pipelines.review.verdict import Review
from pipelines.tracking import check_lock

REPORTS = Path("reports")
CACHE = Path(".dvc", "cache")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="what `make data SOURCE=` takes (default: no new data)")
    print(retrain(parser.parse_args().source, reason.find(os.environ)))


def retrain(source: str | None, why: Reason) -> str:
    """Return what came of it in one line. Raises PipelineError; nothing is open then that was not before."""
    environments.path(why.environment)
    branch = f"retrain/{why.environment}"
    base = shared.fetch(MAIN)
    if base is None:
        raise PipelineError(f"{shared.name()} has no branch {MAIN}: push it first")
    there = shared.fetch(branch)
    if there and not _has(base, there):
        return f"{branch} is open already: merge it, or close it and delete its branch; nothing was trained"
    CACHE.mkdir(parents=True, exist_ok=True)
    with rebuild.worktree(base) as project:
        if not _prepare(project, source, why):
            return f"nothing new since {base[:10]}: same data, same settings, same model; nothing was opened"
        _make(project, "repro")
        review = _judge(project, base)
        _make(project, "repro", "PUSH=yes")
        commit = _commit(project, why, review)
        shutil.copytree(project / REPORTS, REPORTS, dirs_exist_ok=True)
    try:
        said = merge_request.ask(branch, commit, there)
    except PipelineError:
        if shared.fetch(branch) in {None, there, commit}:
            raise
        return f"{branch} was opened by another run meanwhile: this one's model is not needed"
    return f"{review.verdict}: {review.summary}\n{said}"


def _prepare(project: Path, source: str | None, why: Reason) -> bool:
    """Take in new data and initial weights, and say whether anything is to be trained."""
    if source:
        here = Path(source)
        place = str(here.resolve()) if here.exists() else source
        _make(project, "data", f"SOURCE={place.replace('$', '$$')}")
    with chdir(project):
        if params.load().retrain.start == "released":
            warm_start.prepare(why.environment)
        return bool(git("status", "--porcelain") or check_lock.stale())


def _judge(project: Path, base: str) -> Review:
    # It ends with an error, too, when the verdict is against the model: what it wrote tells.
    rebuild.make(project, "review", f"BASE={base}")
    file = project / REPORTS / "review.json"
    if not file.exists():
        raise PipelineError("the new model could not be judged, see above; nothing was opened")
    return msgspec.json.decode(file.read_bytes(), type=Review)


def _commit(project: Path, why: Reason, review: Review) -> str:
    verdict = f"The gate says {review.verdict}: {plain(review.summary)}"
    decision = "A person decides. The comment of this request's own review has the report."
    with chdir(project):
        git("add", "--all", ".")
        message = f"{why.title}\n\n{why.text}\n\n{verdict}\n\n{decision}"
        git(*_identity(), "commit", "--quiet", "--message", message)
        return git("rev-parse", "HEAD").strip()


def _identity() -> tuple[str, ...]:
    try:
        git("config", "user.email")
    except PipelineError:  # as in CI
        return ("-c", "user.name=Retraining", "-c", "user.email=retraining@noreply.invalid")
    return ()


def _make(project: Path, *arguments: str) -> None:
    if rebuild.make(project, *arguments):
        raise PipelineError(f"`make {arguments[0]}` failed, see above; nothing was opened")


def _has(commit: str, ancestor: str) -> bool:
    return not git("rev-list", "--max-count=1", ancestor, f"^{commit}")


if __name__ == "__main__":
    run(main)
