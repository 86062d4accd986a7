"""The incumbent: the model at the merge target, and what it answers to the candidate's test set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from model import manifest
from model.manifest import FLOAT_MODEL, MODEL, Manifest
from pipelines.command import PipelineError
from pipelines.review import repository
from pipelines.training.dataset import PREDICTIONS

HISTORY = "history.csv"
SIDES = ("height", "width", "channels")


class NoIncumbentError(Exception):
    """There is nothing to compare with; the message says why."""


@dataclass(frozen=True)
class Incumbent:
    name: str
    commit: str
    lock: dict[str, Any]
    folder: Path
    """Where its files are, fetched when they are asked for."""

    @cached_property
    def manifest(self) -> Manifest:
        for name in (MODEL, FLOAT_MODEL, manifest.NAME):
            self.fetch(name)
        return manifest.load(self.folder)

    def fetch(self, name: str) -> Path:
        """Return a file of its artifacts/. Raises PipelineError when it can be had from nowhere, or is not it."""
        target = self.folder / name
        if target.exists():
            return target
        from dvc.api import DVCFileSystem  # noqa: PLC0415 (takes a second)
        from dvc.exceptions import DvcException  # noqa: PLC0415

        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            DVCFileSystem(rev=self.commit).get_file(f"artifacts/{name}", str(target))
        except (OSError, DvcException) as error:
            target.unlink(missing_ok=True)
            raise PipelineError(
                f"artifacts/{name} of the incumbent at {self.name} is in neither DVC's cache nor its remote ({error}): "
                f"run `dvc push` where {self.name} was trained, or make it again with `git switch --detach "
                f"{self.name}` and `make repro`"
            ) from error
        expected = self._recorded(name)
        if expected and hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest() != expected:
            target.unlink()
            raise PipelineError(f"artifacts/{name} from DVC is not what dvc.lock at {self.name} records")
        return target

    def has(self, name: str) -> bool:
        return self._recorded(name) is not None

    def _recorded(self, name: str) -> str | None:
        return outputs(self.lock).get(f"artifacts/{name}")


def find(base: str, folder: Path) -> Incumbent:
    """Return the model at a revision, its files to be fetched into a folder.

    Raises NoIncumbentError when there is none yet, PipelineError when the revision cannot be known here.
    """
    if not base.strip("0"):  # what forges give as the revision before the first push of a branch
        raise NoIncumbentError("the branch is new: nothing came before it")
    commit = repository.commit(base)
    if commit is None:
        if repository.is_shallow():
            raise PipelineError(f"{base} is not in this shallow clone: `git fetch --unshallow` brings all")
        if not repository.has_parent():
            raise NoIncumbentError("this is the first commit")
        raise PipelineError(
            f"{base} is no revision here: `git fetch origin main`, or name another as in `make review BASE=HEAD~1`"
        )
    lock = repository.document(commit, "dvc.lock")
    incumbent = Incumbent(base, commit, lock or {}, folder)
    if not incumbent.has(MODEL):
        raise NoIncumbentError(f"{base} has no trained model in its dvc.lock")
    if not incumbent.has(PREDICTIONS):
        raise NoIncumbentError(f"the model at {base} was never evaluated")
    return incumbent


def require_common_class(incumbent: Incumbent, labels: list[str]) -> None:
    """Raise NoIncumbentError for a model that answers another question."""
    if not set(incumbent.manifest.labels) & set(labels):
        raise NoIncumbentError(f"the model at {incumbent.name} knows none of the classes")


def outputs(lock: dict[str, Any]) -> dict[str, str]:
    """Return the hash of each output that a dvc.lock records, by its path."""
    stages = lock.get("stages", {}).values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", []) if "md5" in out}


def same_behaviour(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Say whether two locks record the same test of behaviour: code, settings and the shape of the input."""
    return all(_tests(ours)) and _tests(ours) == _tests(theirs)


def _tests(lock: dict[str, Any]) -> tuple[Any, ...]:
    stages = lock.get("stages", {})
    evaluate, prepare = stages.get("evaluate", {}), stages.get("prepare", {})
    code = {dep["path"]: dep.get("md5") for dep in evaluate.get("deps", [])}
    settings = evaluate.get("params", {}).get("params.yaml", {}).get("evaluate", {}).get("behaviour")
    shape = [prepare.get("params", {}).get("params.yaml", {}).get("prepare", {}).get(side) for side in SIDES]
    return code.get("pipelines/training/behaviour.py"), code.get("pipelines/training/corruptions.py"), settings, shape
