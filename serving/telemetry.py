"""What a worker remembers of each request until it has time: numbers for metrics, a line for the access log."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from model import statistics
from model.inputs import Pixels
from model.predictor import Probabilities
from serving import access, metrics, observation
from serving.access import Model, Record
from serving.logs import write
from serving.release import Release
from serving.tally import Tally

if TYPE_CHECKING:
    from serving.samples import Samples
    from serving.traces import Traces

SAMPLED = 64
"""Most images of a release whose pixels are looked at between two flushes: enough for drift, constant in cost."""
LINES = 256
"""Records that wait at most, so that writing them down never holds up requests for long."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Telemetry:
    """Of one worker. `flush` is called twice a second; everything before it is an append."""

    def __init__(
        self,
        *,
        access_log: bool,
        counting: bool,
        service: str = "",
        traces: Traces | None = None,
        samples: Samples | None = None,
    ) -> None:
        self.tally = Tally()
        self.models: dict[str, Model] = {}
        """What lines say of releases, by name."""
        self._service = service
        self._traces = traces
        self._samples = samples
        self._records: list[Record] = []
        self._access_log = access_log
        self._counting = counting
        self._answers: dict[Release, list[Probabilities]] = defaultdict(list)
        self._images: dict[Release, list[Pixels]] = defaultdict(list)
        self._waits: dict[Release, list[float]] = defaultdict(list)
        self._sampled: dict[Release, int] = defaultdict(int)

    def inferred(self, release: Release, images: Pixels, answers: Probabilities, waits: list[float]) -> None:
        """Remember one inference: what went in, what came out, how long each request had waited."""
        if not self._counting:
            return
        self._answers[release].append(answers)
        self._waits[release] += waits
        if self._sampled[release] < SAMPLED and release.reference:
            self._sampled[release] += len(images)
            self._images[release].append(images)

    def remember(self, record: Record) -> None:
        self._records.append(record)
        if len(self._records) >= LINES:
            self._write_down()

    def flush(self) -> None:
        """Turn what is remembered into samples and lines."""
        self._write_down()
        if self._samples:
            self._samples.tick()
        self._count_answers()
        self.tally.set(metrics.MEMORY, value=_resident_memory())

    def _write_down(self) -> None:
        records, self._records = self._records, []
        if self._counting:
            self._count_requests(records)
        if not records or not (self._access_log or self._traces or self._samples):
            return
        records = access.complete(records, self.models, self._service)
        if self._samples:
            self._samples.add(records)
        if self._traces:
            self._traces.add(records)
        for record in records:
            record.trail = None  # which is no part of a line
        if self._access_log:
            write(access.encode_lines(records))

    def _count_requests(self, records: list[Record]) -> None:
        durations = defaultdict(list)
        for record in records:
            self.tally.add(metrics.REQUESTS, record.endpoint, record.code, record.release)
            durations[record.endpoint, record.release].append(record.duration)
        for labels, values in durations.items():
            self.tally.observe(metrics.DURATION, *labels, values=values)

    def _count_answers(self) -> None:
        for release, batches in self._answers.items():
            answers = np.concatenate(batches)
            self.tally.observe(metrics.BATCH_SIZE, release.name, values=[len(batch) for batch in batches])
            self.tally.observe(metrics.QUEUE_TIME, release.name, values=self._waits[release])
            self.tally.observe(metrics.CONFIDENCE, release.name, values=answers.max(axis=1))
            for position, count in enumerate(np.bincount(answers.argmax(axis=1)).tolist()):
                if count:
                    self.tally.add(metrics.PREDICTIONS, release.name, release.labels[position], amount=count)
            observation.count(self.tally, release, statistics.of_answers(answers))
        for release, found in self._images.items():
            sample = np.concatenate([images[:SAMPLED] for images in found])[:SAMPLED]
            observation.count(self.tally, release, statistics.of_images(sample))
        self._answers.clear()
        self._images.clear()
        self._waits.clear()
        self._sampled.clear()


def _resident_memory() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 (twice a second)
            return int(file.read().split()[1]) * _PAGE
    except OSError:  # not Linux
        return 0
