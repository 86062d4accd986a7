"""What a model answered to each test example, in a few numbers an example however many classes there are."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.command import PipelineError
from pipelines.training.dataset import ANSWERS
from pipelines.training.metrics import Probabilities, Targets, losses, normalize

ROWS = 4096
"""Examples that are in memory with all their probabilities at once."""


@dataclass(frozen=True)
class Outcomes:
    """One model on n examples; classes are positions in `labels`."""

    labels: list[str]
    targets: Targets
    predicted: NDArray[np.int64]
    float_predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    log_loss: NDArray[np.float64]
    brier: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        return np.equal(self.predicted, self.targets)

    @property
    def float_correct(self) -> NDArray[np.bool_]:
        return np.equal(self.float_predicted, self.targets)

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Outcomes:
        """Return the outcomes of some examples, by a mask [n] or by positions."""
        arrays = {field.name: getattr(self, field.name)[chosen] for field in fields(self) if field.name != "labels"}
        return Outcomes(labels=self.labels, **arrays)


def read(path: Path, own: list[str], labels: list[str]) -> Outcomes:
    """Read a model's predictions.

    own: the labels of the model's columns; labels: those that the outcomes count in, among them every own one.
    """
    parts = []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS, columns=["label", *ANSWERS]):
            quantized, reference = (_matrix(batch.column(name), len(own)) for name in ANSWERS)
            parts.append(summarize(batch.column("label").to_pylist(), quantized, reference, own, labels))
    return join(parts)


def summarize(
    actual: list[str], quantized: Probabilities, reference: Probabilities, own: list[str], labels: list[str]
) -> Outcomes:
    """Return the outcomes of n examples from both files' probabilities [n, own]."""
    order = {label: position for position, label in enumerate(labels)}
    columns = np.array([order[label] for label in own])
    log_loss, brier = losses(*_with_unknown(actual, quantized, own))
    return Outcomes(
        labels=labels,
        targets=np.array([order[label] for label in actual], np.int64),
        predicted=columns[quantized.argmax(axis=1)],
        float_predicted=columns[reference.argmax(axis=1)],
        confidence=normalize(quantized).max(axis=1),
        log_loss=log_loss,
        brier=brier,
    )


def _with_unknown(actual: list[str], probabilities: Probabilities, own: list[str]) -> tuple[Targets, Probabilities]:
    """Return positions among a model's own columns; a class that it does not know is one more, of probability zero."""
    order = {label: position for position, label in enumerate(own)}
    targets = np.array([order.get(label, len(own)) for label in actual], np.int64)
    if targets.max() < len(own):
        return targets, probabilities
    return targets, np.pad(probabilities, ((0, 0), (0, 1)))


def join(parts: list[Outcomes]) -> Outcomes:
    names = [field.name for field in fields(Outcomes) if field.name != "labels"]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Outcomes(labels=parts[0].labels, **columns)


def examples(path: Path) -> pa.Table:
    """Return the id, label and extra columns of a model's predictions. Raises PipelineError for a damaged file."""
    try:
        names = [name for name in pq.read_schema(path).names if name not in ANSWERS]
        table = pq.read_table(path, columns=names)
    except pa.ArrowInvalid as error:
        raise PipelineError(f"{path} is damaged, run `make repro`: {error}") from error
    if missing := {"id", "label"} - set(names):
        raise PipelineError(f"{path} has no column {min(missing)}: run `make repro`")
    return table


def _matrix(column: pa.Array, classes: int) -> Probabilities:
    flat: Probabilities = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, classes)


def spread(probabilities: Probabilities, columns: NDArray[np.int64], classes: int) -> Probabilities:
    """Put a model's columns where the common labels have them: [n, own] -> [n, classes]."""
    wide = np.zeros((len(probabilities), classes), probabilities.dtype)
    wide[:, columns] = probabilities
    return wide
