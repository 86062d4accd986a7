"""How good probabilities are, by scikit-learn and SciPy; every function takes all classes' columns.

Shapes throughout: targets int64 [n], probabilities float32 [n, k].
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binned_statistic, binomtest
from sklearn.metrics import f1_score, precision_recall_fscore_support

HALF_STEP = 1 / 512
"""Half of the smallest difference between two probabilities that an int8 model answers."""

Targets = NDArray[np.int64]
Probabilities = NDArray[np.floating[Any]]


class Accuracy(msgspec.Struct, frozen=True):
    """A share of right answers with its Wilson score interval (Wilson 1927)."""

    accuracy: float
    low: float
    high: float
    examples: int


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    log_loss: float
    brier: float
    calibration_error: float


def accuracy(correct: NDArray[np.bool_], confidence: float) -> Accuracy:
    """Return the accuracy of n outcomes, at least one, with its interval at a confidence level."""
    interval = binomtest(int(correct.sum()), len(correct)).proportion_ci(confidence, "wilson")
    return Accuracy(float(correct.mean()), float(interval.low), float(interval.high), len(correct))


def scores(targets: Targets, probabilities: Probabilities, confidence: float, bins: int) -> Scores:
    """Return all metrics of one model; the Brier score is the sum over classes, from 0 to 2 (Brier 1950)."""
    classes = np.arange(probabilities.shape[1])
    log_losses, briers = losses(targets, probabilities)
    probabilities = normalize(probabilities)
    predicted = probabilities.argmax(axis=1)
    share = accuracy(predicted == targets, confidence)
    return Scores(
        accuracy=share.accuracy,
        accuracy_low=share.low,
        accuracy_high=share.high,
        macro_f1=float(f1_score(targets, predicted, labels=classes, average="macro", zero_division=0)),
        log_loss=float(log_losses.mean()),
        brier=float(briers.mean()),
        calibration_error=calibration_error(targets, probabilities, bins),
    )


def losses(targets: Targets, probabilities: Probabilities) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the log loss and the Brier score of each example, [n] each: a review pairs them."""
    rows = np.arange(len(targets))
    shares = normalize(probabilities)
    # An int8 zero means less than half a step, not impossible: without a floor one answer decides the log loss.
    floored = normalize(np.maximum(shares, HALF_STEP / shares.shape[1]))
    brier = (shares**2).sum(axis=1) - 2 * shares[rows, targets] + 1
    return -np.log(floored[rows, targets]), np.maximum(brier, 0)


def normalize(probabilities: Probabilities) -> NDArray[np.float64]:
    """Make rows sum to one exactly: an int8 softmax is off by up to half a step a class, and may be all zeros."""
    values = probabilities.astype(np.float64) + np.finfo(np.float64).tiny
    sums: NDArray[np.float64] = values.sum(axis=1, keepdims=True)
    return values / sums


def reliability(targets: Targets, probabilities: Probabilities, bins: int) -> list[dict[str, float]]:
    """Return, for each bin of confidence that has examples, its mean confidence, its accuracy and its examples."""
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == targets).astype(np.float64)
    counts = binned_statistic(confidence, correct, "count", bins, (0, 1)).statistic
    means = binned_statistic(confidence, [confidence, correct], "mean", bins, (0, 1)).statistic  # [2, bins]
    return [
        {"confidence": float(means[0, i]), "accuracy": float(means[1, i]), "examples": int(counts[i])}
        for i in np.flatnonzero(counts)
    ]


def calibration_error(targets: Targets, probabilities: Probabilities, bins: int) -> float:
    """Return the expected calibration error over equal bins of confidence (Guo et al. 2017)."""
    rows = reliability(targets, probabilities, bins)
    gaps = [abs(row["confidence"] - row["accuracy"]) for row in rows]
    return float(np.average(gaps, weights=[row["examples"] for row in rows]))


def per_class(targets: Targets, predicted: Targets, labels: list[str]) -> dict[str, dict[str, float]]:
    """Return precision, recall and examples of each class."""
    precision, recall, _, support = precision_recall_fscore_support(
        targets, predicted, labels=np.arange(len(labels)), zero_division=0
    )
    return {
        label: {"precision": float(precision[i]), "recall": float(recall[i]), "examples": int(support[i])}
        for i, label in enumerate(labels)
    }
