"""When a canary is refused: worse than the rest beyond chance and margin, and never for want of luck or of traffic."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from tests.ansible.plugins import load

VERDICT = load("filter_plugins/canary").canary_verdict
QUIET: Mapping[str, int] = {}


def metrics(codes: Mapping[str, int], durations: Mapping[float, int] | None = None, endpoint: str = "v2.infer") -> str:
    """Return what a server says that has answered so many requests with these codes, in these seconds."""
    registry = CollectorRegistry()
    requests = Counter("slipway_requests", "", ["endpoint", "code", "release"], registry=registry)
    seconds = Histogram("slipway_request_duration_seconds", "", ["endpoint", "release"], registry=registry)
    for code, count in codes.items():
        requests.labels(endpoint, code, "v1").inc(count)
    for value, count in (durations or {0.004: sum(codes.values())}).items():
        for _ in range(count):
            seconds.labels(endpoint, "v1").observe(value)
    return generate_latest(registry).decode()


def verdict(canary: str, rest: str, margin: float = 0.02) -> str:
    empty = metrics(QUIET)
    before = [{"item": name, "content": empty} for name in ("s1", "s2")]
    after = [{"item": "s1", "content": canary}, {"item": "s2", "content": rest}]
    return str(VERDICT(before, after, "s1", margin)["refused"])


@pytest.mark.parametrize(
    ("canary", "said"),
    [
        (metrics({"200": 400}), ""),
        (metrics({"200": 396, "500": 4}), ""),  # within the margin
        (metrics({"200": 360, "500": 40}), "40 of its 400 requests failed"),
        (metrics({"OK": 360, "UNAVAILABLE": 40}, endpoint="grpc.ModelInfer"), "40 of its 400 requests failed"),
        (metrics({"200": 360, "400": 40}), ""),  # what clients do wrong
        (metrics({"503": 400}, endpoint="v2.ready"), ""),  # what balancers ask
        (metrics({"200": 400}, {0.004: 300, 0.3: 100}), "100 of its 400 answers took longer than 10 ms"),
        (metrics({"200": 400}, {0.004: 300, 0.009: 100}), ""),  # one host is always a little slower
        (metrics({"200": 400}, {0.004: 396, 0.3: 4}), ""),
        (metrics({"200": 9, "500": 10}), ""),  # too few to tell
        (metrics({"200": 30}, {0.3: 30}), "30 of its 30 answers took longer than 10 ms"),  # the slower, the fewer
    ],
)
def test_against_a_rest_that_is_well(canary: str, said: str) -> None:
    """Failures and slow answers refuse it, whichever way requests came."""
    found = verdict(canary, metrics({"200": 800}))
    assert found.startswith(said) if said else found == ""


def test_when_the_rest_is_ill_as_well() -> None:
    """What befalls all is no fault of the canary; what befell before the bake does not count."""
    ill = metrics({"200": 360, "500": 40})
    assert verdict(ill, ill) == ""
    looks = [{"item": name, "content": ill} for name in ("s1", "s2")]
    assert VERDICT(looks, looks, "s1", 0.02)["refused"] == ""


def test_a_canary_that_says_nothing() -> None:
    """It is refused; another host that says nothing is left out."""
    good = metrics({"200": 400})
    looks = [{"item": "s1", "content": ""}, {"item": "s2", "content": good}]
    assert VERDICT(looks, looks, "s1", 0.02)["refused"] == "it does not say what it has answered"
    assert VERDICT(looks, looks, "s2", 0.02)["refused"] == ""


def test_without_a_rest() -> None:
    """A fleet of one is held to the margin alone."""
    before, after = ([{"item": "s1", "content": metrics(codes)}] for codes in (QUIET, {"200": 300, "500": 100}))
    assert VERDICT(before, after, "s1", 0.02)["refused"].startswith("100 of its 400 requests failed")


@given(failed=st.integers(0, 200), answered=st.integers(50, 200), margin=st.floats(0, 0.5))
def test_nobody_is_refused_for_what_the_rest_does_too(failed: int, answered: int, margin: float) -> None:
    """The same counts on both sides are no difference, whatever they are."""
    counts = metrics({"200": answered, "500": failed}, {0.1: 1})
    assert verdict(counts, counts, margin) == ""
