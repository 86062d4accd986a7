"""Dashboards of Grafana, written from monitoring/panels/ and the objectives.

make rules
"""

from __future__ import annotations

import json
import re

from pipelines.command import atomic, run
from pipelines.operations import grafana, panels, rules
from pipelines.operations.grafana import Json
from pipelines.operations.panels import WIDTH, Dashboard
from pipelines.operations.rules import FOLDER

SCHEMA = 41  # of Grafana 11.6; newer ones migrate it when they read it
HEIGHT = 8
STANDARD = {
    "release": "label_values(slipway_model_info, release)",
    "instance": "label_values(slipway_model_info, instance)",
}
"""Variables that a dashboard has when a query asks for them."""


def render(name: str, described: Dashboard) -> Json:
    """Return what Grafana reads."""
    shown = _rows(described)
    used = set(re.findall(r"\$(\w+)", json.dumps(shown)))
    variables: list[Json] = [grafana.CHOOSE_SOURCE]
    variables += [grafana.several(name, query) for name, query in STANDARD.items() if name in used]
    variables += [grafana.variable(name, value) for name, value in described.variables.items()]
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
        found.append({"id": grafana.number(row), "type": "row", "title": row, "collapsed": False, "gridPos": place})
        top, left = top + 1, 0
        for panel in shown:
            if left + panel.width > WIDTH:
                top, left = top + HEIGHT, 0
            found.append(grafana.panel(panel, {"x": left, "y": top, "w": panel.width, "h": HEIGHT}))
            left += panel.width
        top += HEIGHT
    return found


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
