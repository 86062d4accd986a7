"""What dashboards show, and nothing of where it stands on the screen: monitoring/panels/."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta, field

from pipelines.command import PipelineError
from pipelines.documents import Section
from pipelines.operations import rules
from pipelines.operations.rules import FOLDER, Objectives

WIDTH = 24
"""Columns of Grafana's grid."""
CHOSEN = {
    "here": 'instance=~"($instance):.*"',
    "chosen": 'release=~"$release", instance=~"($instance):.*"',
}
"""What a query says of the release and the hosts that somebody looks at."""


class Panel(Section, frozen=True):
    """Queries by their legends, and how they are shown."""

    title: str
    queries: Annotated[dict[str, str], Meta(min_length=1)]
    description: str = ""
    kind: Literal["timeseries", "stat", "table", "barchart"] = "timeseries"
    unit: str = "short"
    """Of Grafana's units."""
    width: Annotated[int, Meta(ge=1, le=WIDTH)] = 8
    stack: bool = False
    limit: float | None = None
    """Shown as a line; a single number is red beyond it."""
    least: bool = False
    """The limit is what should be left: red is below it."""
    by: str = ""
    """The label that a bar chart has a place for each value of."""


class Dashboard(Section, frozen=True):
    title: str
    description: str
    rows: dict[str, list[Panel]]
    variables: dict[str, str | list[str] | float] = field(default_factory=dict)
    """Beside release and instance: `label_values(...)` of Prometheus, some choices, or a number to be typed."""


def load(objectives: Objectives) -> dict[str, Dashboard]:
    """Return all dashboards by name. Raises PipelineError naming the key, what it holds and what it should."""
    environment = rules.templates("panels")
    known = msgspec.to_builtins(objectives) | CHOSEN
    found = {}
    for file in environment.list_templates():
        try:
            text = environment.get_template(file).render(known)
            found[file.split(".")[0]] = msgspec.convert(yaml.safe_load(text), Dashboard)
        except (yaml.YAMLError, msgspec.ValidationError) as error:
            raise PipelineError(f"{FOLDER / 'panels' / file}: {error}") from error
    return found
