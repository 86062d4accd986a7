"""pipelines.training.train: weights that are the same each time, from settings that each do something."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np
import pytest

from model.network import NetworkError
from pipelines import params
from pipelines.command import PipelineError
from pipelines.training.dataset import Dataset
from pipelines.training.train import augmentation, class_weights, feed, schedule, train
from tests.conftest import DEMONSTRATION, quick

SETTINGS = quick(params.load(DEMONSTRATION / "params.yaml")).train


def replace(**changes: object) -> params.Train:
    return msgspec.structs.replace(SETTINGS, **changes)


def test_the_same_seed_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    """Training again, augmentation and all, gives the very same weights; another seed gives others."""
    dataset = Dataset(trained / "dataset")
    train(dataset, SETTINGS, tmp_path / "again.weights.h5", tmp_path / "history.csv")
    assert (tmp_path / "again.weights.h5").read_bytes() == (trained / "model.weights.h5").read_bytes()
    assert (tmp_path / "history.csv").read_bytes() == (trained / "history.csv").read_bytes()
    train(dataset, replace(seed=2), tmp_path / "other.weights.h5", tmp_path / "history.csv")
    assert (tmp_path / "other.weights.h5").read_bytes() != (tmp_path / "again.weights.h5").read_bytes()


def test_history_has_a_row_an_epoch(trained: Path) -> None:
    """DVC plots the learning curves from it."""
    with (trained / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SETTINGS.epochs
    assert {"epoch", "loss", "val_loss", "accuracy", "val_accuracy"} == set(rows[0])
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_warm_start(trained: Path, tmp_path: Path) -> None:
    """Starting from trained weights, one epoch at a small rate is better than one from scratch."""
    dataset = Dataset(trained / "dataset")
    gentle = replace(epochs=1, warmup_epochs=0, learning_rate=1e-5)
    warm = msgspec.structs.replace(gentle, initial_weights=str(trained / "model.weights.h5"))
    cold_accuracy = train(dataset, gentle, tmp_path / "cold.weights.h5", tmp_path / "history.csv")
    assert train(dataset, warm, tmp_path / "warm.weights.h5", tmp_path / "history.csv") > cold_accuracy + 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_weights": "nowhere.weights.h5"}, r"weights nowhere\.weights\.h5 are missing"),
        ({"network": "mlp"}, "does not fit the network mlp"),
        ({"learning_rate": 1e37, "epochs": 2}, "no longer a number: lower train.learning_rate"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    trained: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    """Weights that are missing or do not fit, and a loss that explodes, are named; nothing is written."""
    if "network" in changes:
        changes = changes | {"initial_weights": str(trained / "model.weights.h5")}
    with pytest.raises((PipelineError, NetworkError), match=message):
        train(Dataset(trained / "dataset"), replace(**changes), tmp_path / "weights.weights.h5", tmp_path / "history")
    assert not (tmp_path / "weights.weights.h5").exists()


def test_the_feed_gives_every_image_once_in_a_new_order_each_epoch(trained: Path) -> None:
    """A shuffled feed is a permutation of its split, another one each epoch, and pixels stay with their labels."""
    dataset = Dataset(trained / "dataset")
    indices = dataset.indices("train")
    shuffled = feed(dataset, indices, 64, seed=1)
    epochs = [[target for _, batch in shuffled for target in batch.numpy()] for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(dataset.targets[indices])
    pixels, targets = next(iter(feed(dataset, indices, 10)))
    assert np.array_equal(pixels.numpy(), dataset.images[indices[:10]].astype(np.float32))
    assert np.array_equal(targets.numpy(), dataset.targets[indices[:10]])


def test_class_weights_balance() -> None:
    """A class with a quarter of the examples counts three times as much each; `none` weighs nothing."""
    targets = np.array([0, 0, 0, 1])
    weights = class_weights(targets, SETTINGS)
    assert weights is not None
    assert weights[1] == pytest.approx(3 * weights[0])
    assert class_weights(targets, replace(class_weights="none")) is None


def test_the_learning_rate_warms_up_and_falls() -> None:
    """It rises to its peak at the end of the warm-up and ends at zero."""
    rate = schedule(replace(epochs=10, warmup_epochs=2, learning_rate=0.01), steps=5)
    rates = [float(rate(step)) for step in range(51)]
    assert max(rates) == pytest.approx(rates[10]) == pytest.approx(0.01)
    assert rates[0] == pytest.approx(0.001)
    assert rates[50] == pytest.approx(0, abs=1e-9)


NONE = params.Augment(shift=0, rotation=0, zoom=0, brightness=0, contrast=0, horizontal_flip=False)


@pytest.mark.parametrize(
    "change",
    [
        {"shift": 0.2},
        {"rotation": 40},
        {"zoom": 0.3},
        {"brightness": 0.3},
        {"contrast": 0.5},
        {"horizontal_flip": True},
    ],
)
def test_each_augmentation_changes_pictures_in_training_alone(trained: Path, change: dict[str, float]) -> None:
    """A setting is one random layer, which acts in training and not otherwise; all off, there is none."""
    assert augmentation(NONE, seed=1) == []
    (layer,) = augmentation(msgspec.structs.replace(NONE, **change), seed=1)
    dataset = Dataset(trained / "dataset")
    images = dataset.images[:32].astype(np.float32)
    changed = np.asarray(layer(images, training=True))
    assert not np.array_equal(changed, images)
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert np.array_equal(np.asarray(layer(images, training=False)), images)
