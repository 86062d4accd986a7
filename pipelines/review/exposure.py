"""How often a test set has judged: every look at it wears it out a little.

With n verdicts at confidence c, all of them hold together with at least 1 - n (1 - c), if no candidate was made in the
light of an earlier verdict; if each was, only with 1 - 2^n (1 - c): ease.ml/ci (Renggli et al. 2019). The count is in
Git itself: each version of metrics.json in any branch that names the test set is a candidate that was judged on it.
Nothing needs to be written, so nothing can be forgotten or conflict.
"""

from __future__ import annotations

import json
import math

from pipelines.review import repository
from pipelines.review.verdict import Exposure

METRICS = "artifacts/metrics.json"


def count(test_sha256: str, candidate: bytes, confidence: float, least: float) -> Exposure:
    """Return how many candidates the test set has judged, with this one.

    candidate: its metrics.json; least: the joint confidence at which fresh test data is due.
    """
    judged = len({found for version in (*_versions(), candidate) if (found := _scores(version, test_sha256))})
    risk = 1 - confidence
    return Exposure(
        judged=judged,
        budget=max(math.floor((1 - least) / risk + 1e-9), 1),
        joint_confidence=max(1 - judged * risk, 0.0),
        complete=not repository.is_shallow(),
    )


def _versions() -> list[bytes]:
    """Return the content of every version of the metrics that any reference reaches."""
    log = repository.git("log", "--all", "--format=", "--raw", "--no-abbrev", "--no-renames", "--", METRICS)
    return repository.blobs({line.split()[3] for line in log.splitlines() if line.startswith(":")} - {"0" * 40})


def _scores(metrics: bytes, test_sha256: str) -> str | None:
    """Return the scores of the model that shipped, by which candidates are told apart, if on this test set."""
    try:
        content = json.loads(metrics)
        return json.dumps(content["quantized"]) if content["test"]["sha256"] == test_sha256 else None
    except (ValueError, KeyError, TypeError):  # a version of another layout
        return None
