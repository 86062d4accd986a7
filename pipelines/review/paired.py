"""Two models' outcomes on the same examples: how much better one is, how surely, and when that cannot be told."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

Outcomes = NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """What the candidate gains over the incumbent; a loss is negative, whatever the metric."""

    gain: float
    low: float
    high: float
    p_worse: float
    """Probability of such a loss or a greater one if the candidate were in truth as good."""
    examples: int


def proportions(candidate: Outcomes, incumbent: Outcomes, confidence: float) -> Difference:
    """Compare shares of right answers, bool [n] each, n at least one; each end of the interval is at the confidence.

    The interval is Tango's score interval for paired proportions (Tango 1998, Statistics in Medicine 17, 891-908), the
    probability that of the exact McNemar test (McNemar 1947).
    """
    examples = len(candidate)
    gained, lost = int(np.sum(candidate & ~incumbent)), int(np.sum(~candidate & incumbent))
    low, high = _score_interval(gained, lost, examples, confidence)
    p_worse = binomtest(lost, gained + lost, alternative="greater").pvalue if gained + lost else 1.0
    return Difference((gained - lost) / examples, low, high, float(p_worse), examples)


def _score_interval(gained: int, lost: int, examples: int, confidence: float) -> tuple[float, float]:
    critical = float(norm.isf(1 - confidence))
    estimate = (gained - lost) / examples
    low = -1.0 if lost == examples else brentq(lambda d: _score(gained, lost, examples, d) - critical, -1, estimate)
    high = 1.0 if gained == examples else brentq(lambda d: _score(gained, lost, examples, d) + critical, estimate, 1)
    return float(low), float(high)


def _score(gained: int, lost: int, examples: int, difference: float) -> float:
    """Return Tango's statistic, standard normal if the true difference is the given one."""
    if math.isclose(examples * difference, gained - lost, abs_tol=1e-9):
        return 0.0
    linear = (2 * examples + lost - gained) * difference - lost - gained
    constant = -lost * difference * (1 - difference)
    share = max((math.sqrt(max(linear**2 - 8 * examples * constant, 0)) - linear) / (4 * examples), 0)
    variance = examples * (2 * share + difference * (1 - difference))
    return (gained - lost - examples * difference) / math.sqrt(max(variance, 1e-12))


def holm(p_values: list[float]) -> list[float]:
    """Return the adjusted p-values that control the family-wise error (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.array(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def needed(difference: Difference, margin: float, confidence: float, power: float, comparisons: int) -> int:
    """Return about how many examples would decide, if the difference stays what it is; always more than there are.

    Either way counts: a loss within the margin shown to be so, or a loss shown to be one among all comparisons
    (Bonferroni, Holm's first step). The standard error of the interval shrinks with the root of the number of
    examples, as in any sample size for a z-test.
    """
    error = (difference.gain - difference.low) / norm.isf(1 - confidence)
    arms = (
        (difference.gain + margin, norm.isf(1 - confidence)),
        (-difference.gain, norm.isf((1 - confidence) / comparisons)),
    )
    factors = [
        ((critical + norm.isf(1 - power)) * error / distance) ** 2 for distance, critical in arms if distance > 0
    ]
    return max(math.ceil(difference.examples * min(factors)), difference.examples + 1)
