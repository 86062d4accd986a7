"""pipelines.review.rescore: the incumbent is asked exactly what the candidate was asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.manifest import MODEL
from model.predictor import Predictor
from pipelines.review import outcomes, rescore
from pipelines.review.lock import CODE_OF_BEHAVIOUR, File, Lock, Stage
from pipelines.review.rescore import Answers
from pipelines.training.dataset import BEHAVIOUR, PREDICTIONS, Dataset
from pipelines.training.prepare import prepare
from tests.pipelines.review import models
from tests.pipelines.review.models import SETTINGS, incumbent

LABELS = [str(digit) for digit in range(10)]


def prepared(data: Path, folder: Path, **changed: object) -> Dataset:
    prepare(data, folder, models.replace(SETTINGS.prepare, **changed))
    return Dataset(folder)


def ask(before: Path, dataset: Dataset, data: Path) -> tuple[Answers, pa.Table]:
    examples = dataset.examples.take(dataset.indices("test"))
    settings = SETTINGS.evaluate.behaviour
    return rescore.answers(incumbent(before), dataset, examples, LABELS, settings, Lock(), data), examples


def test_the_same_test_set_takes_the_saved_answers(before: Path, digits: Path, tmp_path: Path) -> None:
    """Saved predictions are used as they are, though the candidate sees other pixels; behaviour is then no match."""
    found, _ = ask(before, prepared(digits, tmp_path / "dataset", height=16), digits)
    saved = outcomes.read(before / PREDICTIONS, LABELS, LABELS)
    assert np.array_equal(found.outcomes.log_loss, saved.log_loss)
    assert not found.seen.any()
    assert found.behaviour is None
    assert "takes other images (12x12x1)" in found.notes[0]


def test_another_test_set_is_run(before: Path, digits: Path, tmp_path: Path) -> None:
    """The incumbent answers the new test images; those that it was trained on are marked and said."""
    dataset = prepared(digits, tmp_path / "dataset", test=0.4)
    found, examples = ask(before, dataset, digits)
    images = dataset.images[dataset.indices("test")]
    assert np.array_equal(found.outcomes.predicted, Predictor(before / MODEL).predict(images).argmax(axis=1))
    mine = Dataset(before / "dataset")
    own_test = set(mine.examples["id"].take(mine.indices("test")).to_pylist())
    assert [name not in own_test for name in examples["id"].to_pylist()] == found.seen.tolist()
    assert 0 < found.seen.sum() < len(found.seen)
    assert (
        f"{found.seen.sum()} of {len(found.seen)} test examples are in the incumbent's training set" in found.notes[1]
    )
    assert found.behaviour is not None


def test_another_test_set_and_another_shape(before: Path, digits: Path, tmp_path: Path) -> None:
    """The originals in data/ are read again at the shape that the incumbent takes."""
    dataset = prepared(digits, tmp_path / "other", test=0.4, width=20)
    found, _ = ask(before, dataset, digits)
    small = prepared(digits, tmp_path / "small", test=0.4)
    images = small.images[small.indices("test")]
    assert np.array_equal(found.outcomes.predicted, Predictor(before / MODEL).predict(images).argmax(axis=1))


def test_saved_behaviour_is_that_of_running_again(before: Path, digits: Path, tmp_path: Path) -> None:
    """Reading what `evaluate` saved and observing anew give the same table."""
    dataset = prepared(digits, tmp_path / "dataset")
    anew, _ = ask(before, dataset, digits)
    deps = [File(f"pipelines/training/{name}", "1") for name in CODE_OF_BEHAVIOUR]
    evaluated = Stage(deps, [File(f"artifacts/{name}", "1") for name in (PREDICTIONS, BEHAVIOUR)], params("evaluate"))
    lock = Lock({"evaluate": evaluated, "prepare": Stage(params=params("prepare"))})
    assert lock.behaviour()
    examples = dataset.examples.take(dataset.indices("test"))
    saved = replace(incumbent(before), lock=lock)
    read = rescore.answers(saved, dataset, examples, LABELS, SETTINGS.evaluate.behaviour, lock, digits)
    assert anew.behaviour is not None
    assert anew.behaviour.equals(read.behaviour)


def params(section: str) -> dict[str, dict[str, object]]:
    return {"params.yaml": {section: {"behaviour": {"examples": 1}}}}
