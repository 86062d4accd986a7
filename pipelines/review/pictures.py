"""What a person looks at when two models differ."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv

from pipelines.review.baseline import HISTORY, Incumbent
from pipelines.review.outcomes import Outcomes
from pipelines.review.verdict import Flip
from pipelines.training import plots
from pipelines.training.dataset import Dataset

FLIPS, CONFUSION, LEARNING = "flips.png", "confusion.svg", "learning_curves.svg"


def draw(folder: Path, dataset: Dataset, flips: list[Flip], incumbent: Incumbent, theirs: Outcomes) -> None:
    """Write the flipped examples, and the incumbent's confusion matrix and learning curves, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    panels = [(dataset.images[flip.position], _title(flip)) for flip in flips[: plots.SHEET]]
    plots.sheet(panels, folder / FLIPS, "No example flipped.")
    plots.confusion(theirs.targets, theirs.predicted, theirs.labels, folder / CONFUSION)
    if incumbent.has(HISTORY):
        history = pyarrow.csv.read_csv(incumbent.fetch(HISTORY)).to_pydict()
        plots.learning_curves(history, folder / LEARNING)


def _title(flip: Flip) -> str:
    verb = "fixed" if flip.fixed else "BROKEN"
    before, after = plots.short(flip.incumbent), plots.short(flip.candidate)
    return f"{verb}: {plots.short(flip.label)}\nwas {before}, now {after}\n{flip.id[:12]}"
