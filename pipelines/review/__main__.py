"""Judge the model in artifacts/ against the one at the merge target, report, and comment on the merge request.

make review                                    against origin/main
make review BASE=v1.2.0                        against any revision
python -m pipelines.review --base HEAD~1 --name digits

Exit code 0: the merge may go ahead. 1: it could not be judged. 2: wrong usage. 3: a rule failed. 4: there are too few
test examples to tell, and gate.inconclusive in params.yaml says `block`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model import ModelError
from pipelines import logs, params
from pipelines.command import PipelineError, atomic, run
from pipelines.review import candidate, freshness, judgement, junit, page, report, repository
from pipelines.review.comment import post
from pipelines.review.markdown import plain
from pipelines.review.verdict import Review, Verdict, worst_first
from pipelines.training.dataset import ARTIFACTS

REPORTS = Path("reports")
UNLIMITED = 10_000_000
BLOCKED = {Verdict.FAIL: 3, Verdict.INCONCLUSIVE: 4}
TONES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="origin/main", help="revision of the incumbent (default: %(default)s)")
    parser.add_argument("--name", help="what the comment is about, when a folder has several models")
    options = parser.parse_args()
    name = options.name or _name()
    try:
        review = _review(name, options.base)
    except (PipelineError, ModelError) as error:
        said = f"## {report.MARKS[Verdict.FAIL]} The model was not judged\n\n{plain(str(error))}\n"
        print(post(lambda limit: said[:limit], name, os.environ))
        raise
    logs.note(verdict=review.verdict)
    print(post(lambda limit: report.render(review, limit), name, os.environ))
    _show(review)
    if not review.may_merge:
        sys.exit(BLOCKED[review.verdict])


def _review(name: str, base: str) -> Review:
    """Judge, and write all reports or none."""
    freshness.check()
    model = candidate.load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        result = judgement.review(name, base, model, params.load(), work / "incumbent")
        drawn = None
        if result.incumbent and result.judged.answers:
            from pipelines.review import pictures  # noqa: PLC0415 (matplotlib takes half a second)

            drawn = work / "pictures"
            theirs = result.judged.answers.outcomes
            pictures.draw(drawn, model.dataset, result.review.flips, result.incumbent, theirs)
        text = page.render(ARTIFACTS, result.review, drawn)
    _write(result.review, text)
    return result.review


def _name() -> str:
    """Return the project's folder in the repository, or the repository's name when it is the root of it."""
    return repository.folder().rstrip("/") or repository.root().name


def _write(review: Review, text: str) -> None:
    markdown = report.render(review, UNLIMITED)
    page.write(text, REPORTS / "index.html")
    with atomic(REPORTS / "review.json") as path:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(review)) + b"\n")
    with atomic(REPORTS / "review.md") as path:
        path.write_text(markdown)
    junit.write(review, REPORTS / "junit.xml")


def _show(review: Review) -> None:
    table = Table(title=escape(f"\n{review.verdict}: {review.summary}"), title_justify="left")
    for column in ("rule", "of", "verdict", "why"):
        table.add_column(column, overflow="fold")
    shown = worst_first(review.findings)
    for finding in shown if len(shown) <= 40 else [row for row in shown if row.verdict is not Verdict.PASS][:40]:
        tone = TONES.get(finding.verdict, "default")
        table.add_row(finding.rule, escape(finding.subject[:24]), f"[{tone}]{finding.verdict}", escape(finding.reason))
    console = Console()
    console.print(table)
    for note in review.notes:
        console.print(note, highlight=False, markup=False)
    console.print(f"report: {(REPORTS / 'index.html').resolve()}", highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    run(main)
