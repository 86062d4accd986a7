"""Ansible filter: does a canary answer as well as the rest of the fleet did meanwhile?

Both are judged by what their servers counted between two looks at /metrics. A request is bad when it failed, or when it
took more than twice as long as 95 % of the rest's did (one host is always a little slower than another). More bad ones
than chance explains (Fisher's exact test) and than `margin` allows refuse the canary.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

PREDICTIONS = re.compile(r"(infer|predict|invocations)$", re.IGNORECASE)
FAILURES = re.compile(r"5..|INTERNAL|UNAVAILABLE|UNKNOWN|DEADLINE_EXCEEDED")  # of HTTP and gRPC
FEWEST = 20  # the first of a server that has just started are slow; chance is dealt with below
CHANCE = 0.01
USUAL = 0.95
SLOWER = 2

Counts = Counter[float]
Look = Mapping[str, str]


def canary_verdict(before: list[Look], after: list[Look], canary: str, margin: float) -> dict[str, str]:
    """Return {"refused": why, or ""; "said": what was seen} of two looks, each {"item": host, "content": metrics}."""
    first, last = (
        {look["item"]: look["content"] for look in looks if look.get("content")} for looks in (before, after)
    )
    if canary not in first.keys() & last.keys():
        return {"refused": "it does not say what it has answered", "said": ""}
    codes: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    durations: dict[bool, Counts] = {True: Counter(), False: Counter()}
    for host in first.keys() & last.keys():
        for found, read in ((codes, _codes), (durations, _durations)):
            difference = read(last[host])
            difference.subtract(read(first[host]))
            found[host == canary].update(difference)
    answered, failed = _failures(codes[True])
    said = f"{answered} requests in the bake, {failed} failed"
    if answered < FEWEST:
        return {"refused": "", "said": f"{said}: too few to tell it from the rest, which takes {FEWEST}"}
    rest_answered, rest_failed = _failures(codes[False])
    if _worse(failed, answered, rest_failed, rest_answered, margin):
        why = f"{failed} of its {answered} requests failed, of the rest's {rest_answered} {rest_failed}"
        return {"refused": why, "said": said}
    bound, slow, total = _slower(durations[True], durations[False])
    if total and _worse(slow, total, *_above(durations[False], bound), margin):
        why = f"{slow} of its {total} answers took longer than {bound * 1000:g} ms, which the rest's seldom do"
        return {"refused": why, "said": said}
    return {"refused": "", "said": f"{said}; of the rest's {rest_answered}, {rest_failed}"}


def _codes(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for sample in _samples(text, "slipway_requests_total"):
        found[sample.labels["code"]] += int(sample.value)
    return found


def _durations(text: str) -> Counts:
    """Return how many answers took at most so many seconds, for each bound."""
    found: Counts = Counter()
    for sample in _samples(text, "slipway_request_duration_seconds_bucket"):
        found[float(sample.labels["le"])] += int(sample.value)
    return found


def _samples(text: str, name: str):  # noqa: ANN202 (of prometheus_client)
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 (this runs on few hosts)

    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and PREDICTIONS.search(sample.labels["endpoint"]):
                yield sample


def _failures(codes: Counter[str]) -> tuple[int, int]:
    return sum(codes.values()), sum(count for code, count in codes.items() if FAILURES.fullmatch(code))


def _slower(canary: Counts, rest: Counts) -> tuple[float, int, int]:
    """Return the first bound beyond twice what 95 % of the rest keep, with the canary's count above it, and of all."""
    from numpy import interp  # noqa: PLC0415 (a tenth of a second)

    finite = sorted(each for each in rest if each < math.inf)
    if not finite or not rest[math.inf]:
        return math.inf, 0, 0
    # Within a bucket as Prometheus' histogram_quantile has it.
    usual = float(interp(USUAL * rest[math.inf], [0, *(rest[each] for each in finite)], [0, *finite]))
    bound = min((each for each in finite if each >= SLOWER * usual), default=finite[-1])
    return (bound, *_above(canary, bound))


def _above(durations: Counts, bound: float) -> tuple[int, int]:
    return durations[math.inf] - durations[bound], durations[math.inf]


def _worse(bad: int, total: int, rest_bad: int, rest_total: int, margin: float) -> bool:
    from scipy.stats import fisher_exact  # noqa: PLC0415 (half a second)

    if bad / total <= (rest_bad / rest_total if rest_total else 0) + margin:
        return False
    table = [[bad, total - bad], [rest_bad, rest_total - rest_bad]]
    return not rest_total or bool(fisher_exact(table, alternative="greater").pvalue < CHANCE)


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"canary_verdict": canary_verdict}
