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
MOST_VALUES = 50
"""Values of a column up to which they are slices; a file's name or a time is not one."""
SIDE = 32
"""Pixels a side that they see at most."""


def baselines(dataset: Dataset, confidence: float) -> dict[str, Accuracy]:
    """Return the test accuracy of always saying the most frequent class, and of a logistic regression on pixels."""
    training, test = dataset.indices(split.TRAIN), dataset.indices(split.TEST)
    seen = spread_by_class(training, dataset.targets[training])
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
    """Return the accuracy per value of each extra column of the data that has from two to MOST_VALUES of them.

    correct: whether the answer to each example of the test set is right, bool [n].
    """
    examples = dataset.examples.take(pa.array(dataset.indices(split.TEST)))
    found = {}
    for name in examples.column_names:
        column = np.array([str(value) for value in examples.column(name).to_pylist()])
        values = np.unique(column).tolist()
        if name not in COLUMNS and 2 <= len(values) <= MOST_VALUES:
            found[name] = {value: accuracy(correct[column == value], confidence) for value in values}
    return found


def spread_by_class(indices: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return about SEEN of the indices, of each class its share and at least one."""
    classes = [indices[targets == target] for target in np.unique(targets)]
    return np.concatenate([_spread(members, -(-SEEN * len(members) // len(indices))) for members in classes])


def _spread(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return indices[:: -(-len(indices) // most)]
