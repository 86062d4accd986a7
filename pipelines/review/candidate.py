"""The candidate: what the pipeline made in artifacts/ of this working tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from model import manifest
from model.manifest import FLOAT_MODEL, MODEL, Manifest
from pipelines.review import evidence, lock, outcomes
from pipelines.review.baseline import Incumbent
from pipelines.review.lock import Lock
from pipelines.training.dataset import ARTIFACTS, BEHAVIOUR, PREDICTIONS, Dataset


@dataclass(frozen=True)
class Candidate:
    folder: Path
    lock: Lock
    dataset: Dataset
    manifest: Manifest
    examples: pa.Table
    """Id, label and extra columns of the test set."""


def load(folder: Path = ARTIFACTS, path: Path = Path(lock.NAME)) -> Candidate:
    """Read what the pipeline made. Raises PipelineError or ManifestError when a file is missing or was swapped."""
    evidence.require(folder, (PREDICTIONS, BEHAVIOUR))
    return Candidate(
        folder,
        lock.parse(path.read_bytes(), "of this working tree") if path.exists() else Lock(),
        Dataset(folder / "dataset"),
        manifest.load(folder),
        outcomes.examples(folder / PREDICTIONS),
    )


def is_same_model(candidate: Candidate, incumbent: Incumbent) -> bool:
    """Say whether the incumbent's files are the candidate's, without fetching any where the locks tell."""
    same = {
        name: candidate.lock.output(f"artifacts/{name}") == incumbent.lock.output(f"artifacts/{name}")
        for name in (MODEL, FLOAT_MODEL, manifest.NAME)
    }
    if not (same[MODEL] and same[FLOAT_MODEL]):
        return False
    return same[manifest.NAME] or incumbent.manifest.labels == candidate.manifest.labels
