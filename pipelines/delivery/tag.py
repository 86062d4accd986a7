"""Tag what is checked out as a release, after asking whether it may be one: a tag that was pushed never moves.

python -m pipelines.delivery.tag v1.2.3 --message "Better at sevens"

Beside v1.2.3 the model gets its own tag, like classifier@v1.2.3, by which DVC's and GTO's registries know it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from pipelines.command import PipelineError, run
from pipelines.delivery.preconditions import check
from pipelines.review import repository
from pipelines.review.repository import git
from pipelines.tracking import check_lock

PIPELINE = Path("dvc.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="like v1.2.3, or v1.2.3-rc.1 for staging alone")
    parser.add_argument("--message", required=True, help="what is new")
    options = parser.parse_args()
    tags = create(options.tag, options.message)
    print(f"tagged; nothing is pushed yet:\n\n  git push --atomic {repository.remote() or 'origin'} {' '.join(tags)}\n")


def create(tag: str, message: str) -> list[str]:
    """Create and return the tags. Raises PipelineError when the tag may not be released; there are none then."""
    if repository.commit(f"refs/tags/{tag}"):
        raise PipelineError(f"there is a tag {tag} already: choose the next version")
    names = yaml.safe_load(PIPELINE.read_text()).get("artifacts", {})
    tags = [tag, *(f"{name}@{tag}" for name in names)]
    made = []
    try:
        for each in tags:
            git("tag", "--annotate", each, "--message", message)
            made.append(each)
        check(tag)
        check_lock.check()
    except BaseException:
        if made:
            git("tag", "--delete", *made)
        raise
    return tags


if __name__ == "__main__":
    run(main)
