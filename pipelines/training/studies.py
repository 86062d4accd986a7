"""What puts an accuracy into proportion: simpler models on the same data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.training import split
from pipelines.training.dataset import Dataset, spread
from pipelines.training.metrics import Accuracy, accuracy

SEEN = 5000
"""Training images that the simple models see at most: enough for a yardstick, and seconds at any size."""
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


def spread_by_class(indices: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return about SEEN of the indices, of each class its share and at least one."""
    classes = [indices[targets == target] for target in np.unique(targets)]
    return np.concatenate([spread(members, -(-SEEN * len(members) // len(indices))) for members in classes])
