"""pipelines.review.resampling and outcomes: the metrics of `evaluate`, resampled in pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.review import outcomes, resampling
from pipelines.review.outcomes import Outcomes
from pipelines.training import metrics

BINS = 10


def answers(seed: int, n: int, classes: int, skill: float) -> tuple[np.ndarray, np.ndarray]:
    """Return targets [n], the same for the same n, and int8-like probabilities [n, classes] of a model."""
    targets = np.random.default_rng([n, classes]).integers(0, classes, n)
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.ones(classes), n)
    shares[np.arange(n), targets] += skill * generator.random(n)
    return targets, (np.rint(shares / shares.sum(axis=1, keepdims=True) * 256) / 256).astype(np.float32)


def outcomes_of(seed: int, n: int, classes: int, skill: float = 2.0) -> Outcomes:
    targets, probabilities = answers(seed, n, classes, skill)
    names = [str(number) for number in range(classes)]
    return outcomes.summarize([names[target] for target in targets], probabilities, probabilities, names, names)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 80), classes=st.integers(2, 7), bins=st.integers(1, 20))
def test_values_are_those_of_evaluate(seed: int, n: int, classes: int, bins: int) -> None:
    """Each metric of all examples is what `evaluate` writes."""
    targets, probabilities = answers(seed, n, classes, 1.0)
    expected = metrics.scores(targets, probabilities, 0.95, bins)
    found = outcomes_of(seed, n, classes, 1.0)
    assert found.correct.mean() == pytest.approx(expected.accuracy)
    for name in resampling.METRICS:
        assert resampling.value(name, found, classes, bins) == pytest.approx(getattr(expected, name)), name


@settings(max_examples=10)
@given(seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)), n=st.integers(20, 60))
def test_a_difference_turns_about_with_the_models(seeds: tuple[int, int], n: int) -> None:
    """What one gains the other loses, on the same resamples; a model against itself differs by nothing."""
    ours, theirs = (outcomes_of(seed, n, 4) for seed in seeds)
    names = list(resampling.METRICS)
    found = resampling.differences(names, ours, theirs, 4, BINS, 0.95)
    turned = resampling.differences(names, theirs, ours, 4, BINS, 0.95)
    itself = resampling.differences(names, ours, ours, 4, BINS, 0.95)
    for name in names:
        assert (found[name].low, found[name].high) == pytest.approx((-turned[name].high, -turned[name].low), abs=1e-12)
        assert found[name].low <= found[name].gain + 1e-9
        assert (itself[name].gain, itself[name].low, itself[name].high, itself[name].p_worse) == (0, 0, 0, 1)


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    """For the log loss, a mean, the bootstrap interval is that of the normal approximation."""
    ours, theirs = outcomes_of(1, 2000, 5), outcomes_of(2, 2000, 5)
    found = resampling.differences(["log_loss"], ours, theirs, 5, BINS, 0.975)["log_loss"]
    gains = theirs.log_loss - ours.log_loss
    width = 1.96 * gains.std(ddof=1) / np.sqrt(2000)
    assert found.gain == pytest.approx(gains.mean())
    assert (found.low, found.high) == pytest.approx((gains.mean() - width, gains.mean() + width), abs=0.15 * width)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Over 200 test sets the 90% interval of macro F1 and calibration error misses the true difference in about 10%."""
    truth_ours, truth_theirs = outcomes_of(1, 50_000, 3, 3), outcomes_of(2, 50_000, 3, 2)
    names = ["macro_f1", "calibration_error"]
    signs = {"macro_f1": 1, "calibration_error": -1}
    truth = {
        name: signs[name] * (resampling.value(name, truth_ours, 3, 5) - resampling.value(name, truth_theirs, 3, 5))
        for name in names
    }
    generator = np.random.default_rng(0)
    missed = dict.fromkeys(names, 0)
    for _ in range(200):
        rows = generator.integers(50_000, size=400)
        found = resampling.differences(names, truth_ours.take(rows), truth_theirs.take(rows), 3, 5, 0.95)
        for name in names:
            missed[name] += not found[name].low <= truth[name] <= found[name].high
    assert all(8 <= count <= 36 for count in missed.values()), missed


def test_predictions_are_read_in_parts_and_by_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are put where the common labels have them, and a class that the model lacks has no probability."""
    monkeypatch.setattr(outcomes, "ROWS", 3)
    targets, probabilities = answers(5, 10, 3, 2.0)
    names = ["a", "b", "c"]
    column = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), 3)
    labels = [names[target] for target in targets]
    table = pa.table({"id": [*map(str, range(10))], "label": labels, "camera": ["x"] * 10})
    path = tmp_path / "predictions.parquet"
    pq.write_table(table.append_column("quantized", column).append_column("float", column), path)
    found = outcomes.read(path, names, ["c", "new", "a", "b"])
    direct = outcomes.read(path, names, names)
    assert [found.labels[answer] for answer in found.predicted] == [names[answer] for answer in direct.predicted]
    assert np.array_equal(found.correct, direct.correct)
    assert found.brier == pytest.approx(direct.brier)
    assert outcomes.examples(path).equals(table)
    assert len(found.take(np.array([1, 4])).targets) == 2
