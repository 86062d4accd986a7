"""Dashboards of Grafana, written from monitoring/panels/ and the objectives.

python -m pipelines.operations.dashboards
"""

from __future__ import annotations

import json
import re
from string import ascii_uppercase
from typing import Any
from zlib import crc32

from pipelines.command import atomic, run
from pipelines.operations import panels, rules
from pipelines.operations.panels import WIDTH, Dashboard, Panel
from pipelines.operations.rules import FOLDER

SCHEMA = 41  # of Grafana 11.6 and 12; newer ones migrate it when they read it
HEIGHT = 8
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
STANDARD = {
    "release": "label_values(slipway_model_info, release)",
    "instance": "label_values(slipway_model_info, instance)",
}
"""Variables that a dashboard has when a query asks for them."""

Json = dict[str, Any]


def render(name: str, described: Dashboard) -> Json:
    """Return what Grafana reads."""
    shown = _rows(described)
    used = set(re.findall(r"\$(\w+)", json.dumps(shown)))
    variables: list[Json] = [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
    variables += [_several(name, query) for name, query in STANDARD.items() if name in used]
    variables += [_variable(name, value) for name, value in described.variables.items()]
    return {
        "uid": f"slipway-{name}",
        "title": f"Slipway / {described.title}",
        "description": described.description,
        "tags": ["slipway"],
        "schemaVersion": SCHEMA,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Slipway", "tags": ["slipway"], "keepTime": True}],
        "templating": {"list": variables},
        "panels": shown,
    }


def _rows(described: Dashboard) -> list[Json]:
    found: list[Json] = []
    top = 0
    for row, shown in described.rows.items():
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        found.append({"id": _number(row), "type": "row", "title": row, "collapsed": False, "gridPos": place})
        top, left = top + 1, 0
        for panel in shown:
            if left + panel.width > WIDTH:
                top, left = top + HEIGHT, 0
            found.append(_panel(panel, {"x": left, "y": top, "w": panel.width, "h": HEIGHT}))
            left += panel.width
        top += HEIGHT
    return found


def _number(title: str) -> int:
    """Return a panel's number, which follows from its title, so that links to it last."""
    return crc32(title.encode()) % 10**6


def _panel(panel: Panel, place: dict[str, int]) -> Json:
    custom: Json = {}
    if panel.kind == "timeseries":
        custom = {"fillOpacity": 70 if panel.stack else 5}
        custom |= {"stacking": {"mode": "normal"}} if panel.stack else {}
        custom |= {"thresholdsStyle": {"mode": "dashed"}} if panel.limit is not None else {}
    return {
        "id": _number(panel.title),
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
    hidden = [f"Time {number}" for number in range(1, len(panel.queries) + 1)] if many else ["Time"]
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


def _several(name: str, query: str) -> Json:
    chosen: Json = {"name": name, "multi": True, "includeAll": True, "current": {"text": "All", "value": "$__all"}}
    # A host has a port for each exporter.
    hosts = {"label": "host", "regex": r"/^(.*):\d+$/"} if name == "instance" else {}
    return _query(name, query) | chosen | hosts


def _variable(name: str, value: str | list[str] | float) -> Json:
    if isinstance(value, str):
        return {"name": name} | _query(name, value)
    kind, text = ("custom", ",".join(value)) if isinstance(value, list) else ("textbox", f"{value:g}")
    first = text.split(",")[0]
    return {"name": name, "type": kind, "query": text, "current": {"text": first, "value": first}}


def encode(rendered: Json) -> str:
    """Return the text of a file, a line a panel: short, and a change is seen where it is."""
    lines = [json.dumps(panel, ensure_ascii=False) for panel in rendered["panels"]]
    head = json.dumps(rendered | {"panels": []}, ensure_ascii=False, indent=1)
    return head.replace('"panels": []', '"panels": [\n  ' + ",\n  ".join(lines) + "\n ]") + "\n"


def main() -> None:
    for name, described in panels.load(rules.load()).items():
        path = FOLDER / "dashboards" / f"{name}.json"
        with atomic(path) as partial:
            partial.write_text(encode(render(name, described)))
        print(f"dashboard: {path}")


if __name__ == "__main__":
    run(main)
