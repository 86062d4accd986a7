"""The supervisor's side of the metrics: the sum of all workers, alive and ended."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

from serving.metrics import METRICS, Metric, Sample


class Totals(Collector):
    """The sum of all workers, which `prometheus_client` asks for from a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[tuple[str, tuple[str, ...]], list[float]] = {}
        self._gauges: dict[int, dict[tuple[str, tuple[str, ...]], float]] = {}

    def merge(self, worker: int, samples: Iterable[Sample]) -> None:
        """Add what a worker counted; its gauges replace those that it sent before."""
        gauges = {}
        with self._lock:
            for sample in samples:
                key = (sample.metric, sample.labels)
                if METRICS[sample.metric].kind in {"gauge", "constant"}:
                    gauges[key] = sample.values[0]
                elif key in self._totals:
                    self._totals[key] = [old + new for old, new in zip(self._totals[key], sample.values, strict=True)]
                else:
                    self._totals[key] = sample.values
            if gauges:
                self._gauges[worker] = gauges

    def forget(self, worker: int) -> None:
        """Drop the gauges of a worker that has ended."""
        with self._lock:
            self._gauges.pop(worker, None)

    def collect(self) -> Iterator[MetricFamily]:
        with self._lock:
            series = dict(self._totals)
            for gauges in self._gauges.values():
                for key, value in gauges.items():
                    series[key] = [value + (series.get(key, [0.0])[0] if METRICS[key[0]].kind == "gauge" else 0)]
        for metric in METRICS.values():
            found = {labels: values for (name, labels), values in sorted(series.items()) if name == metric.name}
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                for labels, values in found.items():
                    histogram.add_metric(labels, _cumulative(metric, values), values[-1])
                yield histogram
            else:
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = kind(metric.name, metric.help, labels=metric.labels)
                for labels, values in found.items():
                    family.add_metric(labels, values[0])
                yield family


def _cumulative(metric: Metric, values: Sequence[float]) -> list[tuple[str, float]]:
    bounds = [*(str(float(bound)) for bound in metric.buckets), "+Inf"]
    return list(zip(bounds, accumulate(values[:-1]), strict=True))
