"""Side-by-side timing: a machine's speed changes from minute to minute, so contenders take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Row = tuple[str, str, str]
"""What was measured, the number, the goal."""


def interleave(contenders: Mapping[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, float]:
    """Return each contender's median time of a call, in seconds, over rounds in which each is called in turn."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            start = time.perf_counter()
            for _ in range(calls):
                call()
            times[name].append((time.perf_counter() - start) / calls)
    return {name: statistics.median(values) for name, values in times.items()}
