"""Pictures of an evaluation, byte-identical for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import ConfusionMatrixDisplay

from model.inputs import Pixels
from model.predictor import Probabilities

BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#94a3b8"
LONGEST = 20
"""Characters of a label that a picture has room for."""
SHEET = 24
"""Mistakes on a contact sheet, at most."""
MOST_ANNOTATED = 20
"""Classes up to which a confusion matrix has room for its numbers."""


STYLE: Any = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "svg.hashsalt": "slipway",
}


PLAIN_TEXT: Any = {"text.parse_math": False}
"""For pictures with labels, which may hold a dollar sign."""


def short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Axes]:
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        try:
            yield axes
            figure.savefig(path, transparent=False, metadata={"Date": None} if path.suffix == ".svg" else None)
        finally:
            plt.close(figure)


def confusion(targets: NDArray[np.int64], predicted: NDArray[np.int64], labels: list[str], path: Path) -> None:
    """Draw counts of actual against predicted classes."""
    size = min(max(4.5, 0.32 * len(labels)), 16)
    few = len(labels) <= MOST_ANNOTATED
    with mpl.rc_context(PLAIN_TEXT), _figure(path, size + 0.5, size) as axes:
        ConfusionMatrixDisplay.from_predictions(
            targets,
            predicted,
            labels=np.arange(len(labels)),
            display_labels=[short(label) for label in labels],
            cmap="Blues",
            colorbar=False,
            include_values=few,
            xticks_rotation="horizontal" if max(map(len, labels)) <= 3 else 60,
            ax=axes,
        )
        axes.set(xlabel="predicted", ylabel="actual")


def reliability(rows: list[dict[str, float]], path: Path) -> None:
    """Draw accuracy against confidence; the area of a dot is its number of examples."""
    confidence = [row["confidence"] for row in rows]
    counts = np.array([row["examples"] for row in rows])
    with _figure(path, 4.5, 4.2) as axes:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfect calibration")
        axes.plot(confidence, [row["accuracy"] for row in rows], color=BLUE, linewidth=1)
        axes.scatter(confidence, [row["accuracy"] for row in rows], s=20 + 180 * counts / counts.max(), color=BLUE)
        axes.set(xlim=(0, 1.03), ylim=(0, 1.03), xlabel="confidence", ylabel="accuracy")
        axes.legend(frameon=False, loc="upper left")


def learning_curves(history: dict[str, list[float]], path: Path) -> None:
    """Draw the training and validation loss of each epoch."""
    epochs = np.array(history["epoch"]) + 1
    with _figure(path, 6, 4.2) as axes:
        axes.plot(epochs, history["loss"], color=BLUE, label="training")
        axes.plot(epochs, history["val_loss"], color=ORANGE, label="validation")
        best = int(np.argmin(history["val_loss"]))
        axes.axvline(epochs[best], color=GREY, linestyle=":", label=f"kept: epoch {epochs[best]}")
        axes.set(xlabel="epoch", ylabel="loss", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        axes.legend(frameon=False)


def mistakes(  # noqa: PLR0913, PLR0917 (a picture of all of them)
    images: Pixels,
    indices: NDArray[np.int64],
    targets: NDArray[np.int64],
    probabilities: Probabilities,
    labels: list[str],
    path: Path,
) -> None:
    """Draw the wrong answers, most confident first.

    images: all of the data set; indices: the positions in it that targets [n] and probabilities [n, k] are about.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != targets)
    worst = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:SHEET]
    panels = []
    for position in worst:
        answer = int(probabilities[position].argmax())
        actual, predicted = short(labels[targets[position]]), short(labels[answer])
        separator = " " if len(actual + predicted) < 10 else "\n"
        certainty = f"{probabilities[position, answer]:.0%} sure"
        panels.append((images[indices[position]], f"{actual}{separator}read as {predicted}\n{certainty}"))
    sheet(panels, path, "No mistakes on the test set.")


def sheet(panels: list[tuple[Pixels, str]], path: Path, nothing: str) -> None:
    """Draw images [height, width, channels] under their titles, or say that there are none."""
    columns = 6
    rows = max(-(-len(panels) // columns), 1)
    with mpl.rc_context(STYLE | PLAIN_TEXT):
        lines = max((title.count("\n") + 1 for _, title in panels), default=1)
        size = (9, (1.5 + 0.2 * lines) * rows)
        figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, (image, title) in zip(axes.flat, panels, strict=False):
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, fontsize=8)
        if not panels:
            axes[0, 0].text(0, 0.5, nothing)
        figure.savefig(path, dpi=110)
        plt.close(figure)
