"""A worker's side of the metrics: what has happened since the supervisor was last told."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from serving.metrics import Metric, Sample


class Tally:
    """What has happened since the last `take`. Not for several threads."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    def add(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        self._values(metric, labels)[0] += amount

    def set(self, metric: Metric, *labels: str, value: float) -> None:
        self._values(metric, labels)[0] = value

    def observe(self, metric: Metric, *labels: str, values: ArrayLike) -> None:
        """Count values into the metric's buckets, whose bounds are inclusive."""
        values = np.asarray(values, np.float64)
        counts = np.bincount(np.searchsorted(metric.buckets, values), minlength=len(metric.buckets) + 1)
        found = self._values(metric, labels)
        for position, count in enumerate(counts.tolist()):
            found[position] += count
        found[-1] += float(values.sum())

    def take(self) -> list[Sample]:
        samples = [Sample(name, labels, values) for (name, labels), values in self._samples.items()]
        self._samples = {}
        return samples

    def _values(self, metric: Metric, labels: tuple[str, ...]) -> list[float]:
        size = len(metric.buckets) + 2 if metric.buckets else 1
        return self._samples.setdefault((metric.name, labels), [0.0] * size)
