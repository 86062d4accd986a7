"""pipelines.training.metrics: known answers, and properties that hold for any probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.training import metrics

TARGETS = np.array([0, 1, 2, 2])
PROBABILITIES = np.array([[0.85, 0.1, 0.05], [0.2, 0.75, 0.05], [0.65, 0.2, 0.15], [0.05, 0.1, 0.85]], np.float32)


def test_scores_by_hand() -> None:
    """Every metric of four answers, as worked out on paper."""
    found = metrics.scores(TARGETS, PROBABILITIES, confidence=0.95, bins=10)
    assert found.accuracy == 0.75
    assert (found.accuracy_low, found.accuracy_high) == pytest.approx((0.3006, 0.9544), abs=1e-4)
    assert found.macro_f1 == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert found.log_loss == pytest.approx(-np.log([0.85, 0.75, 0.15, 0.85]).mean(), rel=1e-6)
    assert found.brier == pytest.approx((0.035 + 0.105 + (0.4225 + 0.04 + 0.7225) + 0.035) / 4, rel=1e-6)
    # Bins: two of 0.85, both right; one of 0.75, right; one of 0.65, wrong.
    assert found.calibration_error == pytest.approx((2 * 0.15 + 0.25 + 0.65) / 4, rel=1e-6)


def test_classes_by_hand() -> None:
    """Precision and recall of each class, 0 for a class that is never predicted."""
    found = metrics.per_class(TARGETS, PROBABILITIES.argmax(axis=1), ["a", "b", "c"])
    assert found["a"] == {"precision": 0.5, "recall": 1, "examples": 1}
    assert found["c"] == {"precision": 1, "recall": 0.5, "examples": 2}
    assert metrics.per_class(np.array([0]), np.array([0]), ["a", "b"])["b"]["precision"] == 0


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), classes=st.integers(2, 8), bins=st.integers(1, 20))
def test_bounds(seed: int, n: int, classes: int, bins: int) -> None:
    """For any answers each metric is within its range and the interval holds the accuracy."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), n).astype(np.float32)
    targets = generator.integers(0, classes, n)
    found = metrics.scores(targets, probabilities, 0.95, bins)
    assert 0 <= found.accuracy_low <= found.accuracy <= found.accuracy_high <= 1
    assert 0 <= found.macro_f1 <= 1
    assert 0 <= found.brier <= 2
    assert 0 <= found.calibration_error <= 1
    assert found.log_loss >= 0
    assert sum(row["examples"] for row in metrics.reliability(targets, probabilities, bins)) == n


def test_certain_and_wrong_is_finite() -> None:
    """An int8 softmax answers exactly 0 and 1: the loss of a certain mistake is large, not infinite."""
    found = metrics.scores(np.array([0, 1]), np.array([[0, 1], [0, 1]], np.float32), 0.95, 10)
    assert found.log_loss == pytest.approx(np.log(512 * 2) / 2, rel=0.01)
    assert found.calibration_error == pytest.approx(0.5)


def test_an_answer_of_all_zeros_is_no_answer() -> None:
    """With many classes every int8 probability may round to zero: that is even odds, not an error."""
    found = metrics.scores(np.array([5]), np.zeros((1, 1000), np.float32), 0.95, 10)
    assert found.log_loss == pytest.approx(np.log(1000))


def test_an_int8_softmax_sums_to_one_when_normalized() -> None:
    """Rows in steps of 1/256 become exact probabilities, in the same order."""
    steps = np.array([[253, 1, 1], [100, 100, 55]], np.float32) / 256
    normalized = metrics.normalize(steps)
    assert np.allclose(normalized.sum(axis=1), 1, atol=1e-12)
    assert np.array_equal(normalized.argmax(axis=1), steps.argmax(axis=1))
