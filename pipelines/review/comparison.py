"""From a comparison to a finding.

A comparison passes when the interval of the change excludes a loss beyond its margin (non-inferiority). It fails when
the value is under its floor, or when the model is worse beyond chance: the p-values of all comparisons are adjusted
together by Holm's method, so that a change without effect fails at most as often as the confidence says, however many
slices there are. Passing needs no such adjustment, as all must pass (the intersection-union test: Berger 1982).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.params import AtLeast, AtMost, Gate
from pipelines.review.paired import Difference, holm, needed, proportions
from pipelines.review.verdict import Finding, Verdict, worst


@dataclass(frozen=True)
class Comparison:
    rule: str
    subject: str
    limits: AtLeast | AtMost
    value: float
    examples: int
    incumbent: float | None = None
    difference: Difference | None = None
    """None when there is nothing to compare with."""


def compare_shares(  # noqa: PLR0913, PLR0917 (one comparison)
    rule: str,
    subject: str,
    limits: AtLeast,
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_] | None,
    kept: NDArray[np.bool_],
    confidence: float,
) -> Comparison:
    """Compare shares of true outcomes, bool [n] each, on the examples that are kept for comparing."""
    value = float(ours.mean())
    if theirs is None or not kept.any():
        return Comparison(rule, subject, limits, value, len(ours))
    difference = proportions(ours[kept], theirs[kept], confidence)
    return Comparison(rule, subject, limits, value, int(kept.sum()), float(theirs[kept].mean()), difference)


def judge(comparisons: list[Comparison], gate: Gate) -> list[Finding]:
    """Judge all comparisons of a review together."""
    adjusted = holm([row.difference.p_worse if row.difference else 1.0 for row in comparisons])
    count = len(comparisons)
    return [_judge(row, p_value, count, gate) for row, p_value in zip(comparisons, adjusted, strict=True)]


def overall(findings: list[Finding], gate: Gate) -> Verdict:
    """Return the worst verdict, but for slices that cannot be told and are allowed not to be."""
    lenient = gate.slices.inconclusive == "allow"
    return worst(
        finding.verdict
        for finding in findings
        if not (lenient and finding.rule == "slices" and finding.verdict is Verdict.INCONCLUSIVE)
    )


def _judge(row: Comparison, p_value: float, comparisons: int, gate: Gate) -> Finding:
    higher_is_better = isinstance(row.limits, AtLeast)
    bound = row.limits.floor if isinstance(row.limits, AtLeast) else row.limits.ceiling
    found = row.difference
    missing = None
    if row.value < bound if higher_is_better else row.value > bound:
        verdict = Verdict.FAIL
        reason = f"{row.value:.4g} is {'under the floor' if higher_is_better else 'over the ceiling'} of {bound:g}"
    elif found is None:
        verdict, reason = Verdict.NO_INCUMBENT, "within its bound; nothing to compare with"
    elif found.low >= -row.limits.margin:
        verdict, reason = Verdict.PASS, f"at most {max(-found.low, 0):.4f} worse, {row.limits.margin:g} is allowed"
    elif p_value < 1 - gate.confidence:
        verdict, reason = Verdict.FAIL, f"worse by {-found.gain:.4f} (p = {p_value:.2g} among all comparisons)"
    else:
        missing = needed(found, row.limits.margin, gate.confidence, gate.power, comparisons)
        verdict = Verdict.INCONCLUSIVE
        loss = f"may be {-found.low:.4f} worse, {row.limits.margin:g} is allowed"
        reason = f"{loss}: about {missing:,} examples would tell"
    ends: tuple[float | None, ...] = (None, None, None)
    if found:
        ends = (found.gain, found.low, found.high) if higher_is_better else (-found.gain, -found.high, -found.low)
    return Finding(
        rule=row.rule,
        subject=row.subject,
        verdict=verdict,
        reason=reason,
        value=row.value,
        incumbent=row.incumbent,
        bound=bound,
        change=ends[0],
        low=ends[1],
        high=ends[2],
        limit=-row.limits.margin if higher_is_better else row.limits.margin,
        examples=row.examples,
        needed=missing,
    )
