"""The fields of log lines: as the code declares them, and as the index template types them."""

from __future__ import annotations

import json
from typing import Any

from pipelines import logs as pipeline
from pipelines.operations import receiver
from serving import access
from serving import logs as server
from tests.conftest import ROOT

FOLDER = ROOT / "monitoring" / "logs"
SHIPPED = "host.name"
"""What the agents add."""


def declared() -> dict[str, set[str]]:
    """Return which lines have which field."""
    kinds = {"access": set(access.NAMES.values()), "server": set(server.NAMES)}
    kinds |= {"pipeline": set(pipeline.NAMES), "receiver": set(receiver.NAMES)}
    return {name: {kind for kind in kinds if name in kinds[kind]} for name in set().union(*kinds.values())}


def types() -> dict[str, str]:
    """Return the type of each field that Elasticsearch is told of, by its name with dots."""
    template = json.loads((FOLDER / "index-template.json").read_text())
    return _flat(template["template"]["mappings"]["properties"])


def _flat(properties: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found = {}
    for name, one in properties.items():
        found |= (
            _flat(one["properties"], f"{prefix}{name}.") if "properties" in one else {f"{prefix}{name}": one["type"]}
        )
    return found
