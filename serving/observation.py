"""What drift is told by: images and answers, counted by the bins of the release's reference, and that itself."""

from __future__ import annotations

from model import statistics
from serving import metrics
from serving.release import Release
from serving.tally import Tally


def count(tally: Tally, release: Release, seen: dict[str, statistics.Values]) -> None:
    """Add the values of each feature that the reference knows."""
    known = release.reference.features if release.reference else {}
    for name in known.keys() & seen.keys():
        for number, amount in enumerate(statistics.count(seen[name], known[name].edges).tolist()):
            tally.add(metrics.OBSERVED, release.name, name, str(number), amount=amount)


def describe(tally: Tally, release: Release) -> None:
    """Tell what is to be compared with, and how old the release is. A bin that nothing fell into counts as 0."""
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
            tally.add(metrics.OBSERVED, release.name, name, str(number), amount=0)
    for label, examples in release.reference.answers.items():
        tally.set(metrics.REFERENCE, release.name, statistics.ANSWER, label, value=examples)
        tally.add(metrics.PREDICTIONS, release.name, label, amount=0)
