"""Whether the candidate's files are its own: numbers that a person edited or copied are no evidence."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.manifest import FLOAT_MODEL, MODEL, Manifest
from model.predictor import Predictor
from pipelines import params
from pipelines.command import PipelineError
from pipelines.review import outcomes, resampling
from pipelines.review.metrics import load
from pipelines.review.outcomes import Outcomes
from pipelines.review.verdict import Finding, Verdict
from pipelines.training import behaviour, split
from pipelines.training.dataset import ANSWERS, BEHAVIOUR, PREDICTIONS, Dataset
from pipelines.training.schema import fingerprint

SAMPLE = 256
"""Test examples that the model is asked again, at most."""
STEPS = 2 / 256
"""Another kind of processor rounds differently: a probability may be off by two steps of an int8 answer."""
SAME = 0.98
"""Share of examples for which each expectation must hold or not as recorded, for the same reason."""


def require(folder: Path, names: tuple[str, ...]) -> None:
    """Raise PipelineError for a file that the pipeline should have made."""
    for name in names:
        if not (folder / name).is_file():
            raise PipelineError(f"{folder / name} is missing: run `make repro`")


def check(
    folder: Path, dataset: Dataset, described: Manifest, labels: list[str], settings: params.Evaluate
) -> tuple[Finding, Outcomes | None]:
    """Return what the model answered, counted in `labels`, with a finding that the files agree with each other.

    The finding is a failed one, without outcomes, when metrics do not follow from predictions, or predictions and
    behaviour not from the model and the test set that lie beside them.
    """
    own = described.labels
    reasons = _test_set(dataset)
    if own != dataset.schema.labels or described.data_sha256 != dataset.schema.data_sha256:
        reasons.append("manifest.json is of another data set")
    reasons = reasons or [*_predictions(folder, dataset), *_behaviour(folder, dataset, settings.behaviour)]
    if not reasons:
        found = outcomes.read(folder / PREDICTIONS, own, labels)
        reasons = _metrics(folder, dataset, found, len(own), settings.calibration_bins)
        if not reasons:
            return Finding(rule="evidence", verdict=Verdict.PASS, reason="all numbers follow from the model"), found
    return Finding(rule="evidence", verdict=Verdict.FAIL, reason=f"{'; '.join(reasons)}: run `make repro`"), None


def _predictions(folder: Path, dataset: Dataset) -> list[str]:
    path, test = folder / PREDICTIONS, dataset.indices(split.TEST)
    schema, expected = pq.read_schema(path), dataset.examples.take(test)
    size = pa.list_(pa.float32(), len(dataset.schema.labels))
    if any(name not in schema.names for name in ("id", "label")) or any(
        name not in schema.names or schema.field(name).type != size for name in ANSWERS
    ):
        return [f"{PREDICTIONS} is not of this model"]
    table = pq.read_table(path, columns=["id", "label"])
    if not all(table.column(name).equals(expected.column(name)) for name in ("id", "label")):
        return [f"{PREDICTIONS} is of another test set"]
    chosen = _sample(len(test))
    rows = _rows(path, chosen)
    wrong = []
    for column, name in zip(ANSWERS, (MODEL, FLOAT_MODEL), strict=True):
        recorded = np.stack(rows.column(column).to_numpy(zero_copy_only=False))
        predictor = Predictor(folder / name)
        answered = np.concatenate([predictor.predict(images) for images in dataset.batches(test[chosen])])
        if not np.isfinite(answered).all():
            wrong.append(f"{name} answers what is no number")
        elif not np.allclose(recorded, answered, atol=STEPS):
            wrong.append(f"{PREDICTIONS} is not what {name} answers")
    return wrong


def _behaviour(folder: Path, dataset: Dataset, settings: params.Behaviour) -> list[str]:
    recorded = pq.read_table(folder / BEHAVIOUR)
    part = behaviour.part(dataset, settings)
    if not recorded.column("id").equals(dataset.examples.column("id").take(part)):
        return [f"{BEHAVIOUR} is of other examples"]
    chosen = _sample(len(part))
    anew = behaviour.observe(Predictor(folder / MODEL).predict, dataset, part[chosen], settings)
    rows = recorded.take(chosen)
    if rows.schema != anew.schema:
        return [f"{BEHAVIOUR} is of other settings"]
    pairs = [(rows.column(name).to_numpy(), anew.column(name).to_numpy()) for name in anew.column_names[1:]]
    same = min(float(np.mean(ours == again)) for ours, again in pairs)
    return [] if same >= SAME else [f"{BEHAVIOUR} is not how {MODEL} behaves"]


def _sample(examples: int) -> NDArray[np.int64]:
    """Return positions that nobody can know beforehand."""
    return np.sort(np.random.default_rng().choice(examples, min(SAMPLE, examples), replace=False))


def _rows(path: Path, chosen: NDArray[np.int64]) -> pa.Table:
    """Return some rows of both models' probabilities, without holding all of them."""
    parts, start = [], 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(outcomes.ROWS, columns=list(ANSWERS)):
            inside = chosen[(chosen >= start) & (chosen < start + batch.num_rows)] - start
            parts.append(batch.take(pa.array(inside)))
            start += batch.num_rows
    return pa.Table.from_batches(parts)


def _test_set(dataset: Dataset) -> list[str]:
    """Hold the examples against the hashes that `prepare` took of them."""
    schema, examples = dataset.schema, dataset.examples
    ids, labels, splits = (examples.column(name).to_pylist() for name in ("id", "label", "split"))
    test = dataset.indices(split.TEST)
    found = (
        fingerprint(schema.input_shape, ids, labels, splits),
        fingerprint(schema.input_shape, [ids[row] for row in test], [labels[row] for row in test]),
    )
    return [] if found == (schema.data_sha256, schema.test_sha256) else ["the data set is not what `prepare` made"]


def _metrics(folder: Path, dataset: Dataset, found: Outcomes, classes: int, bins: int) -> list[str]:
    if not np.isfinite(found.log_loss).all():
        return [f"{PREDICTIONS} holds what is no number"]
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
    except (KeyError, TypeError):
        return ["metrics.json is not what `evaluate` writes"]
    return [f"metrics.json is of another model: {', '.join(differ)}"] if differ else []
