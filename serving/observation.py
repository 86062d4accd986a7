"""What drift is told by: images and answers, counted by the bins of the release's reference, and that itself."""

from __future__ import annotations

from itertools import product

from model import statistics
from serving import metrics
from serving.release import Release
from serving.tally import Tally

PREDICTING = (
    (("images.predict", "v2.infer", "tensorflow.predict", "sagemaker.invocations"), ("200", "500", "503", "504")),
    (("grpc.ModelInfer",), ("OK", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED")),
)
"""Endpoints and codes that rules go by."""


def count(tally: Tally, release: Release, seen: dict[str, statistics.Values]) -> None:
    """Add the values of each feature that the reference knows."""
    known = release.reference.features if release.reference else {}
    for name in known.keys() & seen.keys():
        for number, amount in enumerate(statistics.count(seen[name], known[name].edges).tolist()):
            tally.add(metrics.OBSERVED, release.name, name, str(number), amount=amount)


def begin(tally: Tally, release: Release) -> None:
    """Count nothing of everything that may come: Prometheus sees no rise from a series that was not there."""
    for endpoints, codes in PREDICTING:
        for endpoint, code in product(endpoints, codes):
            tally.add(metrics.REQUESTS, endpoint, code, release.name, amount=0)
    if release.reference:
        for name, feature in release.reference.features.items():
            for number in range(len(feature.counts)):
                tally.add(metrics.OBSERVED, release.name, name, str(number), amount=0)
        for label in release.reference.answers:
            tally.add(metrics.PREDICTIONS, release.name, label, amount=0)


def describe(tally: Tally, release: Release) -> None:
    """Tell what is to be compared with, and how old the release is."""
    for metric, when in (
        (metrics.MODEL_TIME, release.manifest.committed),
        (metrics.DATA_TIME, release.manifest.data_committed),
    ):
        if when:
            tally.set(metric, release.name, value=when)
    if not release.reference:
        return
    for name, feature in release.reference.features.items():
        for number, examples in enumerate(feature.counts):
            tally.set(metrics.REFERENCE, release.name, name, str(number), value=examples)
    for label, examples in release.reference.answers.items():
        tally.set(metrics.REFERENCE, release.name, statistics.ANSWER, label, value=examples)
