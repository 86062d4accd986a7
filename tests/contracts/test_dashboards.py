"""Dashboards are those of monitoring/panels/, ask for metrics that somebody declares, and are what Grafana reads."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.operations import dashboards, panels, rules
from tests.conftest import ROOT
from tests.contracts.dashboards import DASHBOARDS, FOLDER, queries, read, substitute, variables
from tests.contracts.series import asked, known


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_metric_is_declared(name: str) -> None:
    """What a query asks for, and what a variable is filled with, is what the code, the rules or an exporter say."""
    expressions = [expression for _, _, expression in queries(read(name))]
    expressions += [metric for metric, _ in variables(read(name)).values()]
    for expression in expressions:
        assert asked(expression), expression
        assert asked(expression) <= known(), expression


def test_they_are_written_from_their_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make rules` would change nothing."""
    monkeypatch.chdir(ROOT)
    described = panels.load(rules.load())
    assert sorted(described) == DASHBOARDS
    for name, one in described.items():
        assert (FOLDER / f"{name}.json").read_text() == dashboards.encode(dashboards.render(name, one))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafana_can_take_them_in(name: str) -> None:
    """Names that last and are each other's only once, one source that is chosen, and panels that do not overlap."""
    dashboard = read(name)
    assert dashboard["uid"] == f"slipway-{name}"
    assert "id" not in dashboard
    shown = dashboard["panels"]
    assert len({panel["id"] for panel in shown}) == len({panel["title"] for panel in shown}) == len(shown)
    for one, other in combinations([panel["gridPos"] for panel in shown], 2):
        assert not (overlaps(one, other, "x", "w") and overlaps(one, other, "y", "h")), (one, other)
    for panel in shown:
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= panels.WIDTH


def overlaps(one: dict[str, int], other: dict[str, int], start: str, size: str) -> bool:
    return one[start] < other[start] + other[size] and other[start] < one[start] + one[size]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_is_there_and_used(name: str) -> None:
    """Beside those of Grafana itself, which begin with two lines."""
    dashboard = read(name)
    there = {variable["name"] for variable in dashboard["templating"]["list"]} - {"datasource"}
    texts = [text for query in queries(dashboard) for text in query]
    used = {word for text in texts for word in re.findall(r"\$(\w+)", text) if not word.startswith("__")}
    assert used == there


def test_a_misspelt_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it never goes unnoticed."""
    monkeypatch.chdir(ROOT)
    objectives = rules.load()
    (tmp_path / "panels").mkdir()
    (tmp_path / "panels" / "wrong.yml.j2").write_text("title: A\ndescription: B\nrows: {C: [{titel: D}]}\n")
    monkeypatch.setattr(rules, "FOLDER", tmp_path)
    with pytest.raises(panels.PipelineError, match="wrong.yml.j2: .*titel"):
        panels.load(objectives)


CASES: dict[str, Any] = {
    'sum by (le, a) (rate(one{b="x:y", c=~"$d"}[5m])) / on (e) group_left () two:three': {"one", "two:three"},
    "time() - max(four_seconds) > 1e6": {"four_seconds"},
    "$price * count(five) / 3600 * 1e6": {"five"},
}


@pytest.mark.parametrize("expression", CASES)
def test_metrics_are_found_in_expressions(expression: str) -> None:
    """Not functions, labels, values, numbers or variables."""
    assert asked(expression) == CASES[expression]


def test_a_variable_without_a_value_is_named() -> None:
    """The tests give each one a value."""
    with pytest.raises(KeyError, match="unknown"):
        substitute("a{b=$unknown}", {})


def test_provisioning_is_what_the_document_says() -> None:
    """Grafana looks where the document puts files, and the cluster brings all of them."""
    provisioning = ROOT / "monitoring" / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "slipway.yaml").read_text())["providers"]
    assert provider["options"]["path"] in (ROOT / "docs" / "dashboards.md").read_text()
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (made,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"]
    assert made["files"] == [f"{name}.json" for name in DASHBOARDS]
    assert made["options"]["labels"] == {"grafana_dashboard": "1"}
