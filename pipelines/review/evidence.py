"""Whether the candidate's files are its own: numbers that a person edited or copied are no evidence."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from model.manifest import FLOAT_MODEL, MODEL, Manifest
from model.predictor import Predictor
from pipelines.command import PipelineError
from pipelines.review import resampling
from pipelines.review.metrics import load
from pipelines.review.outcomes import Outcomes
from pipelines.review.verdict import Finding, Verdict
from pipelines.training import split
from pipelines.training.dataset import ANSWERS, PREDICTIONS, Dataset

SAMPLE = 256
"""Test examples that the model is asked again, at most."""
STEPS = 2 / 256
"""Another kind of processor rounds differently: a probability may be off by two steps of an int8 answer."""


def require(folder: Path, names: tuple[str, ...]) -> None:
    """Raise PipelineError for a file that the pipeline should have made."""
    for name in names:
        if not (folder / name).is_file():
            raise PipelineError(f"{folder / name} is missing: run `make repro`")


def check(folder: Path, dataset: Dataset, described: Manifest, found: Outcomes, bins: int) -> Finding:
    """Return a failed finding when what lies in artifacts/ does not follow from the model and the test set there."""
    reasons = [
        *_predictions(folder, dataset),
        *_metrics(folder, dataset, found, len(described.labels), bins),
        *([] if described.labels == dataset.schema.labels else ["manifest.json has other classes than the data set"]),
    ]
    if reasons:
        return Finding(rule="evidence", verdict=Verdict.FAIL, reason=f"{'; '.join(reasons)}: run `make repro`")
    return Finding(
        rule="evidence", verdict=Verdict.PASS, reason="metrics follow from predictions, predictions from the model"
    )


def _predictions(folder: Path, dataset: Dataset) -> list[str]:
    table = pq.read_table(folder / PREDICTIONS, columns=["id", "label"])
    test = dataset.indices(split.TEST)
    expected = dataset.examples.take(test)
    if not all(table.column(name).equals(expected.column(name)) for name in ("id", "label")):
        return [f"{PREDICTIONS} is of another test set"]
    chosen = np.arange(len(test))[:: -(-len(test) // SAMPLE)]
    rows = pq.read_table(folder / PREDICTIONS, columns=list(ANSWERS)).take(chosen)
    wrong = []
    for column, name in zip(ANSWERS, (MODEL, FLOAT_MODEL), strict=True):
        recorded = np.stack(rows.column(column).to_numpy(zero_copy_only=False))
        predictor = Predictor(folder / name)
        answered = np.concatenate([predictor.predict(images) for images in dataset.batches(test[chosen])])
        if recorded.shape != answered.shape or not np.allclose(recorded, answered, atol=STEPS):
            wrong.append(f"{PREDICTIONS} is not what {name} answers")
    return wrong


def _metrics(folder: Path, dataset: Dataset, found: Outcomes, classes: int, bins: int) -> list[str]:
    recorded = load(folder)
    expected = {
        "accuracy": float(found.correct.mean()),
        **{name: resampling.value(name, found, classes, bins) for name in resampling.METRICS},
    }
    sizes = {column: (folder / name).stat().st_size for column, name in zip(ANSWERS, (MODEL, FLOAT_MODEL), strict=True)}
    try:
        differ = [
            name
            for name, value in expected.items()
            if not math.isclose(recorded["quantized"][name], value, rel_tol=1e-6, abs_tol=1e-9)
        ]
        differ += [f"size of {name}" for name, size in sizes.items() if recorded["size"][name] != size]
        if recorded["test"]["sha256"] != dataset.schema.test_sha256:
            differ.append("test set")
    except (KeyError, TypeError) as error:
        return [f"metrics.json lacks {error}"]
    return [f"metrics.json is of another model: {', '.join(differ)}"] if differ else []
