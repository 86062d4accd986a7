"""What puts an accuracy into proportion: simpler models, corrupted images, parts of the test set."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.progress import track
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model.predictor import Predictor
from pipelines import params
from pipelines.training import split
from pipelines.training.corruptions import CORRUPTIONS
from pipelines.training.dataset import COLUMNS, Dataset
from pipelines.training.metrics import Accuracy, accuracy

SEEN = 5000
"""Training images that the simple models see at most: enough for a yardstick, and seconds at any size."""
SIDE = 32
"""Pixels a side that they see at most."""


def baselines(dataset: Dataset, confidence: float) -> dict[str, Accuracy]:
    """Return the test accuracy of always saying the most frequent class, and of a logistic regression on pixels."""
    training, test = dataset.indices(split.TRAIN), dataset.indices(split.TEST)
    seen = _spread(training, SEEN)
    pixels = _features(dataset, seen)
    models = {
        "most_frequent": DummyClassifier(strategy="most_frequent"),
        "logistic_regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=100, tol=1e-2)),
    }
    found = {}
    for name, model in models.items():
        answers = model.fit(pixels, dataset.targets[seen]).predict(_features(dataset, test))
        found[name] = accuracy(answers == dataset.targets[test], confidence)
    return found


def _features(dataset: Dataset, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return every few pixels of images as rows [n, features]."""
    height, width, _ = dataset.schema.input_shape
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    parts = [images[:, ::rows, ::columns].reshape(len(images), -1) for images in dataset.batches(indices)]
    return np.concatenate(parts)


def robustness(predictor: Predictor, dataset: Dataset, settings: params.Evaluate) -> dict[str, Accuracy]:
    """Return the accuracy under each corruption, on an evenly spread part of the test set."""
    test = _spread(dataset.indices(split.TEST), settings.robustness.examples)
    found = {}
    for name, corrupt in track(CORRUPTIONS.items(), "evaluate"):
        severity = getattr(settings.robustness, name)
        answers = [predictor.predict(corrupt(images, severity)).argmax(axis=1) for images in dataset.batches(test)]
        found[name] = accuracy(np.concatenate(answers) == dataset.targets[test], settings.confidence)
    return found


def slices(dataset: Dataset, correct: NDArray[np.bool_], confidence: float) -> dict[str, dict[str, Accuracy]]:
    """Return the accuracy per value of each extra column of the data that has more than one.

    correct: whether the answer to each example of the test set is right, bool [n].
    """
    examples = dataset.examples.take(pa.array(dataset.indices(split.TEST)))
    found = {}
    for name in examples.column_names:
        column = np.array([str(value) for value in examples.column(name).to_pylist()])
        values = np.unique(column).tolist()
        if name not in COLUMNS and len(values) > 1:
            found[name] = {value: accuracy(correct[column == value], confidence) for value in values}
    return found


def _spread(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return indices[:: -(-len(indices) // most)]
