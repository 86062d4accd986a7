"""Panels and variables in the JSON that Grafana reads."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any
from zlib import crc32

from pipelines.operations.panels import Panel

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOOSE_SOURCE = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}

Json = dict[str, Any]


def number(title: str) -> int:
    """Return a panel's number, which follows from its title, so that links to it last."""
    return crc32(title.encode()) % 10**6


def panel(panel: Panel, place: dict[str, int]) -> Json:
    """Return a panel at its place on the grid."""
    custom: Json = {}
    if panel.kind == "timeseries":
        custom = {"fillOpacity": 70 if panel.stack else 5}
        custom |= {"stacking": {"mode": "normal"}} if panel.stack else {}
        custom |= {"thresholdsStyle": {"mode": "dashed"}} if panel.limit is not None else {}
    return {
        "id": number(panel.title),
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": SOURCE,
        "targets": [_target(*pair, panel.kind) for pair in zip(ascii_uppercase, panel.queries.items(), strict=False)],
        "transformations": _transformations(panel),
        "options": {"xField": panel.by} if panel.by else {},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "custom": custom, "thresholds": _thresholds(panel)},
            "overrides": [],
        },
    }


def _target(letter: str, query: tuple[str, str], kind: str) -> Json:
    legend, expression = query
    target: Json = {"refId": letter, "datasource": SOURCE, "expr": expression.strip(), "legendFormat": legend}
    if kind == "timeseries":
        return target | {"range": True}
    return target | {"instant": True, "range": False, "format": "time_series" if kind == "stat" else "table"}


def _transformations(panel: Panel) -> list[Json]:
    """Make a query's labels the columns of a table, and join the queries of a bar chart by one of them."""
    if panel.kind not in {"table", "barchart"}:
        return []
    many = len(panel.queries) > 1
    hidden = [f"Time {position}" for position in range(1, len(panel.queries) + 1)] if many else ["Time"]
    values = [f"Value #{letter}" for letter in ascii_uppercase] if many else ["Value"]
    names = dict(zip(values, panel.queries, strict=False))
    tidy = {"excludeByName": dict.fromkeys(hidden, True), "renameByName": names}
    join = [{"id": "joinByField", "options": {"byField": panel.by, "mode": "outer"}}] if many else []
    return [*join, {"id": "organize", "options": tidy}]


def _thresholds(panel: Panel) -> Json:
    below, above = ("red", "green") if panel.least else ("green", "red")
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps = [{"color": below, "value": None}, {"color": above, "value": panel.limit}]
    return {"mode": "absolute", "steps": steps}


def _query(name: str, query: str) -> Json:
    # Newest releases first; refresh 2: with the time that is shown.
    asked = {"qryType": 1, "query": query, "refId": name}
    return {"type": "query", "datasource": SOURCE, "definition": query, "query": asked, "refresh": 2, "sort": 2}


def several(name: str, query: str) -> Json:
    """Return a variable with all that a query finds, or some of it."""
    chosen: Json = {"name": name, "multi": True, "includeAll": True, "current": {"text": "All", "value": "$__all"}}
    # A host has a port for each exporter.
    hosts = {"label": "host", "regex": r"/^(.*):\d+$/"} if name == "instance" else {}
    return _query(name, query) | chosen | hosts


def variable(name: str, value: str | list[str] | float) -> Json:
    """Return a variable with one value: of a query, of a list, or a number to be typed."""
    if isinstance(value, str):
        return {"name": name} | _query(name, value)
    kind, text = ("custom", ",".join(value)) if isinstance(value, list) else ("textbox", f"{value:g}")
    first = text.split(",")[0]
    return {"name": name, "type": kind, "query": text, "current": {"text": first, "value": first}}
