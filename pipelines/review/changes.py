"""What a change touches: parameters, data and code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from pipelines.command import PipelineError
from pipelines.review import repository
from pipelines.review.baseline import Incumbent
from pipelines.review.candidate import Candidate
from pipelines.review.verdict import Changes
from pipelines.training.dataset import SCHEMA

PARAMS = "params.yaml"


class _Counts(msgspec.Struct):
    counts: dict[str, dict[str, int]]


def describe(incumbent: Incumbent, candidate: Candidate, *, same: bool) -> Changes:
    """Return the changes since the incumbent's commit, those not committed among them.

    same: whether it is the same model, whose data need not be fetched to be compared.
    """
    before = flat(repository.document(incumbent.commit, PARAMS) or {})
    after = flat(yaml.safe_load(Path(PARAMS).read_text()))
    names = ("diff", "--name-only", "-z", incumbent.commit, "--", ".", ":!dvc.lock", ":!artifacts")
    return Changes(
        params=differences(before, after),
        data={} if same else _data(incumbent, candidate),
        files=[name for name in repository.git(*names).split("\0") if name],
    )


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*after, *(name for name in before if name not in after)]
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _data(incumbent: Incumbent, candidate: Candidate) -> dict[str, tuple[int, int]]:
    """Return the examples of each split before and after, nothing when all are the same."""
    schema = candidate.dataset.schema
    if incumbent.manifest.data_sha256 == schema.data_sha256:
        return {}
    path = incumbent.fetch(f"dataset/{SCHEMA}")
    try:
        before = msgspec.json.decode(path.read_bytes(), type=_Counts).counts
    except msgspec.DecodeError as error:
        raise PipelineError(f"artifacts/dataset/{SCHEMA} of the incumbent cannot be read: {error}") from error
    return {part: (sum(before.get(part, {}).values()), sum(now.values())) for part, now in schema.counts.items()}
