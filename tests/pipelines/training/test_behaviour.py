"""pipelines.training.behaviour: an expectation holds or not, example by example."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from model.inputs import Pixels
from model.manifest import MODEL
from model.predictor import Predictor
from pipelines import params
from pipelines.training.behaviour import observe, part
from pipelines.training.dataset import Dataset
from pipelines.training.metrics import Probabilities
from tests.conftest import DEMONSTRATION

SETTINGS = params.load(DEMONSTRATION / "params.yaml").evaluate.behaviour
replace = msgspec.structs.replace


def brightest(images: Pixels) -> Probabilities:
    """Answer by mean brightness alone, surer of a brighter image."""
    level = images.mean(axis=(1, 2, 3)) / 256
    answers = np.zeros((len(images), 10), np.float32)
    answers[np.arange(len(images)), (level * 10).astype(int)] = level
    return answers


def test_changes_of_severity_zero_change_nothing(trained: Path) -> None:
    """Undisturbed, a model is as right as it is, always answers the same and is never surer."""
    dataset = Dataset(trained / "dataset")
    none = replace(
        SETTINGS,
        robustness=params.Robustness(**dict.fromkeys(params.Robustness.__struct_fields__, 0.0)),
        invariance=params.Invariance(shift=0, brightness=0),
        direction=params.Direction(occlusion=0),
    )
    predictor = Predictor(trained / MODEL)
    held = observe(predictor.predict, dataset, dataset.indices("test"), none)
    test = dataset.indices("test")
    right = predictor.predict(dataset.images[test]).argmax(axis=1) == dataset.targets[test]
    assert held["id"].to_pylist() == dataset.examples["id"].take(test).to_pylist()
    for column in held.column_names[1:]:
        assert np.array_equal(held[column].to_numpy(), right if column.startswith("robustness") else right | True), (
            column
        )


def test_a_model_that_breaks_expectations_is_seen(trained: Path) -> None:
    """What answers by brightness stays the same when shifted, not when brightened."""
    dataset = Dataset(trained / "dataset")
    settings = replace(SETTINGS, invariance=params.Invariance(shift=0, brightness=60))
    held = observe(brightest, dataset, part(dataset, settings), settings)
    shares = {name: held[name].to_numpy().mean() for name in held.column_names[1:]}
    assert shares["invariance/shift"] == 1
    assert shares["invariance/brightness"] == 0
    assert shares["direction/occlusion"] > 0.9


def test_only_a_part_is_observed(trained: Path) -> None:
    """No more examples than params allow are changed, evenly spread over the test set."""
    dataset = Dataset(trained / "dataset")
    settings = replace(SETTINGS, examples=100)
    held = observe(brightest, dataset, part(dataset, settings), settings)
    assert held["id"].to_pylist() == dataset.examples["id"].take(dataset.indices("test")[::5]).to_pylist()
