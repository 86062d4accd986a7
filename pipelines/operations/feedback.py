"""How right a model is in use: labels that arrive later, joined with what the server answered.

make feedback LABELS=labels.csv LOG=access.log

The labels are a CSV or Parquet file with the columns request_id and label, or a folder of `make samples` in which every
picture lies where it belongs; the log is the server's, one JSON object a line with http.request.id, labels.class and
labels.release. reports/feedback.json gets what is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines import params
from pipelines.command import PipelineError, atomic, named, run
from pipelines.training import metrics
from pipelines.training.metrics import Accuracy

OUTPUT = Path("reports", "feedback.json")
COLUMNS = ("request_id", "label")


class Answer(NamedTuple):
    release: str
    label: str


class Line(msgspec.Struct, frozen=True):
    """One of the server's log; lines of other events lack these."""

    request: str | None = msgspec.field(default=None, name="http.request.id")
    answered: str | None = msgspec.field(default=None, name="labels.class")
    release: str | None = msgspec.field(default=None, name="labels.release")


class Feedback(msgspec.Struct, frozen=True):
    releases: dict[str, Accuracy]
    unmatched: int
    """Labels of requests that the log does not have, or that had several pictures."""
    ambiguous: int
    """Labels of request ids that the log has with several answers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=named, help="CSV or Parquet with request_id and label, or <label>/<id>.png")
    parser.add_argument("log", type=named, help="JSON lines of the server")
    options = parser.parse_args()
    confidence = params.load().evaluate.confidence
    found = join(read_labels(options.labels), options.log, confidence)
    with atomic(OUTPUT) as partial:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    _show(found, confidence)


def join(labels: dict[str, str], log: Path, confidence: float) -> Feedback:
    """Return the accuracy of each release on the requests that have a label by now.

    Raises PipelineError when none has, since nothing can be said then.
    """
    answers: dict[str, set[Answer]] = {}
    for request, answer in _answers(log):
        if request in labels:
            answers.setdefault(request, set()).add(answer)
    correct: dict[str, list[bool]] = {}
    for request, given in answers.items():
        if len(given) == 1:
            (answer,) = given
            correct.setdefault(answer.release, []).append(answer.label == labels[request])
    if not correct:
        raise PipelineError(f"{log} has no answer to any of {len(labels):,} labelled requests: is it the server's log?")
    return Feedback(
        {release: metrics.accuracy(np.array(each), confidence) for release, each in sorted(correct.items())},
        unmatched=len(labels) - len(answers),
        ambiguous=len(answers) - sum(map(len, correct.values())),
    )


def read_labels(path: Path) -> dict[str, str]:
    """Return the label of each request id. Raises PipelineError for another table, or an id with two labels."""
    try:
        if path.is_dir():
            table = _table(path)
        elif path.suffix == ".parquet":
            table = pq.read_table(path, columns=list(COLUMNS))
        else:
            texts = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()))
            table = pyarrow.csv.read_csv(path, convert_options=texts)
        pairs = set(zip(*(map(str, table.column(name).to_pylist()) for name in COLUMNS), strict=True))
    except (pa.ArrowInvalid, KeyError) as error:
        raise PipelineError(f"{path} is no table with the columns {' and '.join(COLUMNS)}: {error}") from error
    found = dict(pairs)
    if len(found) < len(pairs):
        raise PipelineError(f"{path} has {len(pairs) - len(found)} request ids with another label: keep the right one")
    return found


def _table(folder: Path) -> pa.Table:
    pictures = sorted(folder.glob("*/*.png"))
    if not pictures:
        raise PipelineError(f"{folder} has no pictures: make samples INTO={folder} puts some there")
    return pa.table({"request_id": [path.stem for path in pictures], "label": [path.parent.name for path in pictures]})


def _answers(log: Path) -> Iterator[tuple[str, Answer]]:
    with log.open("rb") as lines:
        for text in lines:
            try:
                line = msgspec.json.decode(text, type=Line)
            except msgspec.MsgspecError:  # LiteRT's words, or a line that is being written
                continue
            if line.request and line.answered is not None and line.release is not None:
                yield line.request, Answer(line.release, line.answered)


def _show(found: Feedback, confidence: float) -> None:
    table = Table(title="\nLabels that came later", title_justify="left")
    for column in ("release", "labelled", "accuracy", f"between, at {confidence:.0%}"):
        table.add_column(column, justify="left" if column == "release" else "right")
    for release, share in found.releases.items():
        interval = f"{share.low:.4f} and {share.high:.4f}"
        table.add_row(escape(release) or "none", f"{share.examples:,}", f"{share.accuracy:.4f}", interval)
    console = Console()
    console.print(table)
    if found.unmatched or found.ambiguous:
        print(f"left out: {found.unmatched:,} labels without an answer here, {found.ambiguous:,} with several")


if __name__ == "__main__":
    run(main)
