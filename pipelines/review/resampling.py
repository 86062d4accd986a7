"""Metrics that are no plain share of right answers, compared by a paired bootstrap (Efron and Tibshirani 1993).

Each is a function of sums over examples, so a resample costs one product of a sparse matrix with the number of times
that each example was drawn: 100,000 examples of 100 classes take seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, vstack
from scipy.stats import bootstrap, norm

from pipelines.review.outcomes import Outcomes
from pipelines.review.paired import Difference

RESAMPLES = 1000
TOGETHER = 8
"""Resamples in memory at once."""

Sums = NDArray[np.float64]
"""Features by resamples: [f, r]."""
Features = csc_array[Any]
"""Features by examples: [f, n]."""


def _f1_features(outcomes: Outcomes, classes: int, _: int) -> Features:
    rows = np.arange(len(outcomes.targets))
    ones = np.ones(len(rows))
    size = (max(classes, len(outcomes.labels)), len(rows))
    right = csc_array((outcomes.correct.astype(float), (outcomes.targets, rows)), size)
    said = csc_array((ones, (outcomes.predicted, rows)), size)
    actual = csc_array((ones, (outcomes.targets, rows)), size)
    features: Features = vstack([right[:classes], (said + actual)[:classes]], format="csc")
    return features


def _f1_value(sums: Sums, _: int) -> NDArray[np.float64]:
    right, either = np.split(sums, 2)
    scores: Sums = 2 * right / np.maximum(either, 1)
    return np.asarray(scores.mean(axis=0))


def _calibration_features(outcomes: Outcomes, _: int, bins: int) -> Features:
    # As SciPy's binned_statistic has it: the last bin includes its upper edge.
    row = np.minimum((outcomes.confidence * bins).astype(np.int64), bins - 1)
    gap = outcomes.confidence - outcomes.correct
    return csc_array((gap, (row, np.arange(len(row)))), (bins, len(row)))


def _calibration_value(sums: Sums, examples: int) -> NDArray[np.float64]:
    return np.asarray(np.abs(sums).sum(axis=0) / examples)


def _mean(sums: Sums, examples: int) -> NDArray[np.float64]:
    return np.asarray(sums[0] / examples)


METRICS: dict[str, tuple[Callable[[Outcomes, int, int], Features], Callable[[Sums, int], NDArray[np.float64]]]] = {
    "macro_f1": (_f1_features, _f1_value),
    "log_loss": (lambda outcomes, *_: csc_array(outcomes.log_loss[np.newaxis]), _mean),
    "brier": (lambda outcomes, *_: csc_array(outcomes.brier[np.newaxis]), _mean),
    "calibration_error": (_calibration_features, _calibration_value),
}
"""Name: (features of examples, value from their sums)."""


def value(name: str, outcomes: Outcomes, classes: int, bins: int) -> float:
    """Return a metric of one model; macro F1 is the mean over the first `classes` labels."""
    features, metric = METRICS[name]
    examples = len(outcomes.targets)
    return float(metric(features(outcomes, classes, bins) @ np.ones((examples, 1)), examples)[0])


def differences(  # noqa: PLR0913, PLR0917 (what a comparison is of)
    names: list[str], candidate: Outcomes, incumbent: Outcomes, classes: int, bins: int, confidence: float
) -> dict[str, Difference]:
    """Compare two models' metrics on the same resamples of the same examples; the same call gives the same numbers."""
    examples = len(candidate.targets)
    pairs = {name: [METRICS[name][0](outcomes, classes, bins) for outcomes in (candidate, incumbent)] for name in names}

    def gains(indices: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:  # noqa: ARG001 (SciPy's)
        """Return [metrics, resamples] from examples' positions [resamples, n], or [metrics] from [n]."""
        drawn = np.atleast_2d(indices)
        counts = np.stack([np.bincount(row, minlength=examples) for row in drawn], axis=1).astype(np.float64)
        found = []
        for name, features in pairs.items():
            ours, theirs = (METRICS[name][1](matrix @ counts, examples) for matrix in features)
            found.append(ours - theirs if name == "macro_f1" else theirs - ours)
        return np.stack(found) if indices.ndim > 1 else np.stack(found)[:, 0]

    if not names:
        return {}
    everyone = np.arange(examples)
    # Each end is at the confidence.
    level = 2 * confidence - 1
    options: Any = {"vectorized": True, "confidence_level": level, "rng": 0, "batch": TOGETHER}
    percentile = bootstrap((everyone,), gains, n_resamples=RESAMPLES, method="percentile", **options)
    basic = bootstrap((everyone,), gains, n_resamples=0, method="basic", bootstrap_result=percentile, **options)
    return {
        name: _difference(gain, error, [*ends], examples)
        for name, gain, error, *ends in zip(
            names,
            gains(everyone).tolist(),
            np.asarray(percentile.standard_error).tolist(),
            *(np.asarray(end).tolist() for found in (percentile, basic) for end in found.confidence_interval),
            strict=True,
        )
    }


def _difference(gain: float, error: float, ends: list[float], examples: int) -> Difference:
    # Where resamples are lopsided one kind of interval is too short on one side and the other on the other.
    low, high = min(ends), max(ends)
    if error:
        return Difference(gain, low, high, float(norm.cdf(gain / error)), examples)
    return Difference(gain, low, high, 1.0 if gain >= 0 else 0.0, examples)
