"""What a model costs: bytes, and time measured against the incumbent's in turns on one machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import quantile_test

from model.inputs import Pixels
from model.manifest import MODEL
from model.predictor import Predictor
from pipelines import params
from pipelines.review.verdict import Finding, Verdict

BLOCKS, LEAST_BLOCKS = 30, 8
TURNS = 5
TURN = 1e-3
"""Seconds that each model works in a turn, at least: far more than a clock's step."""
LONGEST = 10.0
"""Seconds after which no further block begins, once there are the least."""

Contender = tuple[Path, Pixels]
"""A model's folder and one image in the shape that it takes: [1, height, width, channels]."""


def size(folder: Path, incumbent: Path | None, budget: params.Budget) -> Finding:
    """Judge the bytes of the model that ships."""
    value = (folder / MODEL).stat().st_size
    before = (incumbent / MODEL).stat().st_size if incumbent else None
    ratio = value / before if before else None
    verdict, reason = _judge(value, budget, ratio, ratio, "bytes")
    return Finding(
        rule="size",
        verdict=verdict,
        reason=reason,
        value=value,
        incumbent=before,
        bound=budget.ceiling,
        change=ratio,
        low=ratio,
        high=ratio,
        limit=budget.ratio,
    )


def latency(contenders: list[Contender], budget: params.Budget, confidence: float) -> Finding:
    """Judge the time of one image: of the candidate, and of the incumbent when it comes second.

    The models take turns, so that what slows the machine slows both; the interval of the median ratio is that of the
    quantile test (Conover 1999).
    """
    times = measure(contenders)
    value, *before = (float(milliseconds) for milliseconds in np.median(times, axis=0) * 1e3)
    if not before:
        verdict, reason = _judge(value, budget, None, None, "ms")
        return Finding(rule="latency", verdict=verdict, reason=reason, value=value, bound=budget.ceiling)
    ratios = times[:, 0] / times[:, 1]
    interval: Any = quantile_test(ratios, q=1, p=0.5).confidence_interval(2 * confidence - 1)
    low, high = float(interval.low), float(interval.high)
    verdict, reason = _judge(value, budget, low, high, "ms")
    return Finding(
        rule="latency",
        verdict=verdict,
        reason=reason,
        value=value,
        incumbent=before[0],
        bound=budget.ceiling,
        change=float(np.median(ratios)),
        low=low,
        high=high,
        limit=budget.ratio,
    )


def measure(contenders: list[Contender]) -> NDArray[np.float64]:
    """Return the seconds of one image in each block: [blocks, contenders].

    A block's number is the median of its turns. Models are loaded anew for each, as where a model lies in memory can
    make it a few percent slower for as long as it lies there.
    """
    blocks: list[NDArray[np.float64]] = []
    started = time.perf_counter()
    while len(blocks) < LEAST_BLOCKS or (len(blocks) < BLOCKS and time.perf_counter() - started < LONGEST):
        order = range(len(contenders)) if len(blocks) % 2 else range(len(contenders))[::-1]
        models = {which: Predictor(contenders[which][0] / MODEL) for which in order}
        repeats = {which: max(1, round(TURN / _time(models[which], contenders[which][1], 2))) for which in order}
        times = np.empty((TURNS, len(contenders)))
        for turn in range(TURNS):
            for which in order:
                times[turn, which] = _time(models[which], contenders[which][1], repeats[which])
        blocks.append(np.median(times, axis=0))
    return np.stack(blocks)


def _time(predictor: Predictor, images: Pixels, repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        predictor.predict(images)
    return (time.perf_counter() - started) / repeats


def _judge(
    value: float, budget: params.Budget, low: float | None, high: float | None, unit: str
) -> tuple[Verdict, str]:
    if value > budget.ceiling:
        return Verdict.FAIL, f"{value:,.3g} {unit} are over the ceiling of {budget.ceiling:,.3g}"
    if low is None or high is None:
        return Verdict.NO_INCUMBENT, "under the ceiling; nothing to compare with"
    if high <= budget.ratio:
        return Verdict.PASS, f"at most {high:.2f} times the incumbent"
    if low > budget.ratio:
        return Verdict.FAIL, f"{low:.2f} times the incumbent or more; {budget.ratio:g} times is allowed"
    return Verdict.INCONCLUSIVE, f"{low:.2f} to {high:.2f} times the incumbent: run again on a quieter machine"
