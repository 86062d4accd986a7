"""What dashboards ask, read from their JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.conftest import ROOT

FOLDER = ROOT / "monitoring" / "dashboards"
DASHBOARDS = sorted(path.stem for path in FOLDER.glob("*.json"))

Json = dict[str, Any]


def read(name: str) -> Json:
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def queries(dashboard: Json) -> Iterator[tuple[str, str, str]]:
    """Give title, legend and expression of each query."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["legendFormat"], target["expr"]


def variables(dashboard: Json) -> dict[str, tuple[str, str]]:
    """Return metric and label of each variable that Prometheus fills."""
    found = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
            assert asked, variable["definition"]
            found[variable["name"]] = (asked[1], asked[2])
    return found


def substitute(expression: str, values: dict[str, str]) -> str:
    """Put values in place of variables. Fails for one without."""
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)
