"""Dashboards show something: each query is put to a Prometheus that watches servers under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.training.dataset import Dataset
from tests.conftest import need, wait_for
from tests.contracts.dashboards import DASHBOARDS, queries, read, substitute, variables
from tests.system.prometheus import Prometheus
from tests.system.watched import CANARY, HOSTS, PROGRAMS, STABLE, watched


@pytest.fixture(scope="module")
def prometheus(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    need(*PROGRAMS)
    dataset = Dataset(trained / "dataset")
    images = dataset.images[dataset.indices("test")]
    with watched(tmp_path_factory.mktemp("watched"), trained, images, rate=60) as found:
        drifting = f'slipway:drift:psi{{feature="answer", release="{CANARY}"}}'
        wait_for(lambda: bool(found.prometheus.query(drifting)), "images in a window")
        yield found.prometheus


VALUES = {
    "__rate_interval": "10s",
    "release": f"({STABLE}|{CANARY})".replace(".", "\\\\."),
    "instance": f"({'|'.join(HOSTS)})".replace(".", "\\\\."),
    "one": STABLE,
    "other": CANARY,
    "feature": "confidence",
    "window": "1h",
    "price": "0.05",
}
"""As Grafana puts them in: escaped in regular expressions."""


@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_query_returns_data(prometheus: Prometheus, name: str) -> None:
    """Numbers, not nothing and not NaN, for the releases and the hosts that were chosen."""
    silent = []
    for title, legend, expression in queries(read(name)):
        found = prometheus.query(substitute(expression, VALUES))
        if not any(float(series["value"][1]) == float(series["value"][1]) for series in found):
            silent.append(f"{title} / {legend}: {substitute(expression, VALUES)}")
    assert not silent, "\n".join(silent)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_variable_has_something_to_choose_from(prometheus: Prometheus, name: str) -> None:
    """The label that it is filled with has values."""
    asked: dict[str, Any] = variables(read(name))
    for metric, label in asked.values():
        assert any(series["metric"].get(label) for series in prometheus.query(metric)), (metric, label)
