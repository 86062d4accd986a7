"""The incumbent's answers to the candidate's test set: those it saved, or it is run again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.inputs import Pixels, decode, to_pixels
from model.manifest import FLOAT_MODEL, MODEL
from model.predictor import Predictor
from pipelines import params
from pipelines.dvc import DATA
from pipelines.review import outcomes
from pipelines.review.baseline import Incumbent
from pipelines.review.lock import Lock
from pipelines.review.outcomes import Outcomes
from pipelines.training import behaviour, shards, split
from pipelines.training.dataset import BEHAVIOUR, EXAMPLES, PREDICTIONS, Dataset
from pipelines.training.restore import restore


@dataclass(frozen=True)
class Answers:
    outcomes: Outcomes
    behaviour: pa.Table | None
    """None when the incumbent cannot be tested in the same way."""
    seen: NDArray[np.bool_]
    """Which test examples the incumbent was trained on, so that they are no test of it: bool [n]."""
    notes: list[str]


def answers(  # noqa: PLR0913, PLR0917 (both models and what they are asked)
    incumbent: Incumbent,
    dataset: Dataset,
    examples: pa.Table,
    labels: list[str],
    settings: params.Behaviour,
    ours: Lock,
    data: Path = DATA,
) -> Answers:
    """Return what the incumbent answers to the candidate's test examples.

    examples: their ids and labels; labels: of both models; ours: the candidate's lock. Raises PipelineError when files
    of the incumbent cannot be had, or when images that it must be run on are not in data/.
    """
    own = incumbent.manifest.labels
    saved = outcomes.examples(incumbent.fetch(PREDICTIONS)) if incumbent.has(PREDICTIONS) else None
    if saved is not None and all(saved.column(name).equals(examples.column(name)) for name in ("id", "label")):
        found = outcomes.read(incumbent.fetch(PREDICTIONS), own, labels)
        seen, notes = np.zeros(len(examples), np.bool_), []
    else:
        found = _run(incumbent, dataset, examples, labels, data)
        seen = _seen(incumbent, examples)
        notes = ["The incumbent has no answers to this test set, so it was run on it."]
        if saved is not None and (
            gone := len(set(saved.column("id").to_pylist()) - set(examples.column("id").to_pylist()))
        ):
            notes.append(f"{gone:,} of the incumbent's {len(saved):,} test examples are no longer in the test set.")
        if seen.any():
            notes.append(
                f"{seen.sum():,} of {len(seen):,} test examples are in the incumbent's training set; it is not "
                "compared on them."
            )
    held = None
    same_tests = ours.behaviour() is not None and ours.behaviour() == incumbent.lock.behaviour()
    if same_tests and not notes and incumbent.has(BEHAVIOUR):
        held = pq.read_table(incumbent.fetch(BEHAVIOUR))
    elif incumbent.manifest.input_shape == dataset.schema.input_shape:
        held = behaviour.observe(_aligned(incumbent, labels), dataset, behaviour.part(dataset, settings), settings)
    else:
        shape = "x".join(map(str, incumbent.manifest.input_shape))
        notes.append(f"The incumbent takes other images ({shape}): how it behaves under changes is not compared.")
    return Answers(found, held, seen, notes)


def _run(incumbent: Incumbent, dataset: Dataset, examples: pa.Table, labels: list[str], data: Path) -> Outcomes:
    shape = incumbent.manifest.input_shape
    test = dataset.indices(split.TEST)
    predictors = [Predictor(incumbent.folder / name) for name in (MODEL, FLOAT_MODEL)]
    actual = examples.column("label").to_pylist()
    parts = []
    position = 0
    same = shape == dataset.schema.input_shape
    for images in dataset.batches(test) if same else _originals(data, test, shape):
        quantized, reference = (predictor.predict(images) for predictor in predictors)
        batch = actual[position : position + len(images)]
        parts.append(outcomes.summarize(batch, quantized, reference, incumbent.manifest.labels, labels))
        position += len(images)
    return outcomes.join(parts)


def _originals(data: Path, test: NDArray[np.int64], shape: tuple[int, int, int]) -> Iterator[Pixels]:
    """Yield batches of the test images at the shape that the incumbent takes, decoded as production would."""
    if not data.exists():
        restore(data)
    start = 0
    for batch in shards.batches(shards.open_dataset(data), ["image"]):
        rows = test[(test >= start) & (test < start + batch.num_rows)] - start
        if len(rows):
            encoded = batch.column("image").take(pa.array(rows)).to_pylist()
            yield np.stack([to_pixels(decode(image), shape) for image in encoded])
        start += batch.num_rows


def _seen(incumbent: Incumbent, examples: pa.Table) -> NDArray[np.bool_]:
    table = pq.read_table(incumbent.fetch(f"dataset/{EXAMPLES}"), columns=["id", "split"])
    trained = table.column("split").to_numpy(zero_copy_only=False) != split.TEST
    return np.isin(
        examples.column("id").to_numpy(zero_copy_only=False), table.column("id").to_numpy(zero_copy_only=False)[trained]
    )


def _aligned(incumbent: Incumbent, labels: list[str]) -> behaviour.Predict:
    """Return the incumbent's prediction with its columns where the common labels have them."""
    predictor = Predictor(incumbent.folder / MODEL)
    columns = np.array([labels.index(label) for label in incumbent.manifest.labels])
    return lambda images: outcomes.spread(predictor.predict(images), columns, len(labels))
