"""pipelines.review.paired: published numbers, independent calculations, and error rates worked out exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, multinomial, norm

from pipelines.review.paired import Difference, holm, needed, proportions


def compare(both: int, gained: int, lost: int, neither: int, confidence: float = 0.975) -> Difference:
    """Compare two models by how many examples both, only the candidate, only the incumbent or none got right."""
    counts = (both, gained, lost, neither)
    candidate = np.repeat([True, True, False, False], counts)
    incumbent = np.repeat([True, False, True, False], counts)
    return proportions(candidate, incumbent, confidence)


def test_the_published_interval() -> None:
    """Airway hyper-responsiveness before and after transplantation, as Fagerland, Lydersen and Laake (2014) have it."""
    found = compare(both=1, gained=1, lost=7, neither=12)
    assert found.gain == pytest.approx(-6 / 21)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def likelihood_score(gained: int, lost: int, examples: int, difference: float) -> float:
    """Return the score statistic with the restricted estimate found by search rather than by formula."""

    def loss(share: float) -> float:
        cells = (share + difference, share, 1 - 2 * share - difference)
        counts = (gained, lost, examples - gained - lost)
        return -sum(count * math.log(max(cell, 1e-300)) for count, cell in zip(counts, cells, strict=True) if count)

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    share = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    variance = examples * (2 * share + difference * (1 - difference))
    return (gained - lost - examples * difference) / math.sqrt(variance)


@given(gained=st.integers(1, 30), lost=st.integers(1, 30), same=st.integers(1, 300))
def test_the_interval_inverts_the_score_test(gained: int, lost: int, same: int) -> None:
    """At both ends the statistic, worked out another way, is the critical value."""
    found = compare(same, gained, lost, 0)
    critical = norm.isf(0.025)
    assert likelihood_score(gained, lost, found.examples, found.low) == pytest.approx(critical, abs=1e-3)
    assert likelihood_score(gained, lost, found.examples, found.high) == pytest.approx(-critical, abs=1e-3)


@given(counts=st.tuples(*[st.integers(0, 40)] * 4).filter(any), confidence=st.floats(0.51, 0.999))
def test_the_interval_of_any_counts(counts: tuple[int, int, int, int], confidence: float) -> None:
    """It holds the estimate, stays in [-1, 1], and turns about when the models change places."""
    both, gained, lost, neither = counts
    found, turned = compare(*counts, confidence), compare(both, lost, gained, neither, confidence)
    assert -1 <= found.low <= found.gain <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-9)
    assert 0 < found.p_worse <= 1


@pytest.mark.parametrize(("examples", "margin", "flips"), [(60, 0.1, 0.14), (60, 0.1, 0.3), (120, 0.05, 0.08)])
def test_a_loss_of_the_margin_seldom_passes(examples: int, margin: float, flips: float) -> None:
    """Of all test sets that can be drawn, those that let such a candidate pass have a probability near 2.5%."""
    lost = (flips + margin) / 2
    truth = multinomial(examples, [flips - lost, lost, 1 - flips])
    passing = sum(
        float(truth.pmf([gained, missed, examples - gained - missed]))
        for gained, missed in itertools.product(range(examples), repeat=2)
        if gained + missed <= examples
        and truth.pmf([gained, missed, examples - gained - missed]) > 1e-9
        and compare(examples - gained - missed, gained, missed, 0).low >= -margin
    )
    assert 0.001 < passing < 0.04


@pytest.mark.parametrize("discordant", [1, 4, 5, 12, 40])
def test_no_loss_is_seldom_called_one(discordant: int) -> None:
    """The exact test keeps its level at every number of flips, as the binomial distribution tells."""
    wrong = sum(
        binom.pmf(lost, discordant, 0.5)
        for lost in range(discordant + 1)
        if compare(100, discordant - lost, lost, 0).p_worse < 0.05
    )
    assert wrong <= 0.05


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=6), level=st.floats(0.001, 0.5))
def test_holm_is_the_closed_test(p_values: list[float], level: float) -> None:
    """A hypothesis is rejected when Bonferroni rejects every set of hypotheses that it is in, and only then."""
    indices = range(len(p_values))
    sets = [chosen for size in indices for chosen in itertools.combinations(indices, size + 1)]
    rejected = [
        all(min(p_values[i] for i in chosen) * len(chosen) <= level for chosen in sets if which in chosen)
        for which in indices
    ]
    adjusted = holm(p_values)
    near = [math.isclose(value, level, rel_tol=1e-9) for value in adjusted]
    assert all(
        close or (value <= level) == expected for close, value, expected in zip(near, adjusted, rejected, strict=True)
    )


@given(gained=st.integers(0, 20), lost=st.integers(0, 20), margin=st.floats(0.005, 0.2))
def test_the_stated_number_of_examples_decides(gained: int, lost: int, margin: float) -> None:
    """With as many examples and the same shares of flips the candidate passes, or is shown to be worse."""
    found = compare(400 - gained - lost, gained, lost, 0)
    count = max(needed(found, margin, 0.975, 0.8, 1), 1)
    factor = max(count / 400, 1)
    again = compare(round((400 - gained - lost) * factor), round(gained * factor), round(lost * factor), 0)
    assert again.low >= -margin or again.high < 0
