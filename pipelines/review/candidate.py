"""The candidate: what the pipeline made in artifacts/ of this working tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from model import manifest
from model.manifest import FLOAT_MODEL, MODEL, Manifest
from pipelines.review import baseline, evidence, outcomes
from pipelines.review.baseline import Incumbent
from pipelines.training.dataset import ARTIFACTS, BEHAVIOUR, PREDICTIONS, Dataset


@dataclass(frozen=True)
class Candidate:
    folder: Path
    lock: dict[str, Any]
    dataset: Dataset
    manifest: Manifest
    examples: pa.Table
    """Id, label and extra columns of the test set."""


def load(folder: Path = ARTIFACTS, lock: Path = Path("dvc.lock")) -> Candidate:
    """Read what the pipeline made. Raises PipelineError or ManifestError when a file is missing or was swapped."""
    evidence.require(folder, (PREDICTIONS, BEHAVIOUR))
    return Candidate(
        folder,
        yaml.load(lock.read_text(), yaml.CSafeLoader) if lock.exists() else {},
        Dataset(folder / "dataset"),
        manifest.load(folder),
        outcomes.examples(folder / PREDICTIONS),
    )


def is_same_model(candidate: Candidate, incumbent: Incumbent) -> bool:
    """Say whether the incumbent's files are the candidate's, without fetching any where the locks tell."""
    ours, theirs = (baseline.outputs(lock) for lock in (candidate.lock, incumbent.lock))
    if any(ours.get(f"artifacts/{name}") != theirs.get(f"artifacts/{name}") for name in (MODEL, FLOAT_MODEL)):
        return False
    same_manifest = ours.get(f"artifacts/{manifest.NAME}") == theirs.get(f"artifacts/{manifest.NAME}")
    return same_manifest or incumbent.manifest.labels == candidate.manifest.labels
