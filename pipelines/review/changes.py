"""What a change touches: parameters, data and code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from pipelines.review import repository
from pipelines.review.baseline import Incumbent
from pipelines.training.dataset import SCHEMA
from pipelines.training.schema import Schema

MOST_FILES = 50


def describe(incumbent: Incumbent, schema: Schema, params_path: Path = Path("params.yaml")) -> dict[str, Any]:
    """Return the changes since the incumbent's commit, those not committed among them."""
    before = _flat(repository.document(incumbent.commit, str(params_path)) or {})
    after = _flat(yaml.safe_load(params_path.read_text()))
    names = [*after, *(name for name in before if name not in after)]
    files = repository.git("diff", "--name-only", incumbent.commit, "--", ".", ":!dvc.lock", ":!artifacts").splitlines()
    return {
        "params": {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)},
        "data": _data(incumbent, schema),
        "files": files[:MOST_FILES],
        "more_files": max(len(files) - MOST_FILES, 0),
    }


def _data(incumbent: Incumbent, schema: Schema) -> dict[str, list[int]] | None:
    """Return the examples of each split before and after, or None when all are the same."""
    if incumbent.manifest.data_sha256 == schema.data_sha256:
        return None
    before = msgspec.json.decode(incumbent.fetch(f"dataset/{SCHEMA}").read_bytes(), type=Schema).counts
    return {part: [sum(before.get(part, {}).values()), sum(counts.values())] for part, counts in schema.counts.items()}


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
