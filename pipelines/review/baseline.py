"""The incumbent: the model at the merge target, its files and its limits."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from model import manifest
from model.manifest import FLOAT_MODEL, MODEL, Manifest
from pipelines.command import PipelineError
from pipelines.dvc import FEW_ATTEMPTS
from pipelines.review import lock, rebuild, repository
from pipelines.review.lock import Lock

HISTORY = "history.csv"


class NoIncumbentError(Exception):
    """There is nothing to compare with yet; the message says why."""


@dataclass(frozen=True)
class Incumbent:
    name: str
    commit: str
    lock: Lock
    folder: Path
    """Where its files are, fetched when they are asked for."""
    notes: list[str] = field(default_factory=list)
    """What a report must say of them."""

    @cached_property
    def manifest(self) -> Manifest:
        for name in (MODEL, FLOAT_MODEL, manifest.NAME):
            self.fetch(name)
        return manifest.load(self.folder)

    def fetch(self, name: str) -> Path:
        """Return a file of its artifacts/, made again with all others when it can be had from nowhere.

        Raises PipelineError when that fails too, or when it is not what the lock records.
        """
        target = self.folder / name
        if target.exists():
            return target
        from dvc.api import DVCFileSystem  # noqa: PLC0415 (takes a second)

        os.environ.update(FEW_ATTEMPTS | os.environ)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            files = DVCFileSystem(".", rev=self.commit, subrepos=True)
            files.get_file(f"{repository.folder()}artifacts/{name}", str(target))
        except Exception as error:  # noqa: BLE001 (each kind of remote raises what its library does)
            target.unlink(missing_ok=True)
            return self._remake(name, error)
        expected = self.lock.output(f"artifacts/{name}")
        if expected and hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest() != expected:
            target.unlink()
            raise PipelineError(f"artifacts/{name} from DVC is not what dvc.lock at {self.name} records")
        return target

    def _remake(self, name: str, reason: Exception) -> Path:
        # All of them, so that no two are of different runs: another machine's bytes differ.
        shutil.rmtree(self.folder)
        try:
            rebuild.artifacts(self.commit, self.folder)
        except PipelineError as error:
            raise PipelineError(
                f"artifacts/{name} of the incumbent at {self.name} is in neither DVC's cache nor its remote "
                f"({reason}), and it cannot be made again: {error}: run `dvc push` where {self.name} was trained"
            ) from error
        self.notes.append(
            f"Files of {self.name} were in no cache and no remote: its model was made again from that commit."
        )
        if not (self.folder / name).exists():
            raise PipelineError(f"artifacts/{name} is not what {self.name} makes, though its dvc.lock records it")
        return self.folder / name

    def has(self, name: str) -> bool:
        return self.lock.output(f"artifacts/{name}") is not None


def find(base: str, folder: Path) -> Incumbent:
    """Return the model at a revision, its files to be fetched into a folder.

    Raises NoIncumbentError when the repository has none yet, and PipelineError when there should be one that cannot be
    known here: what cannot be compared must never pass for what need not be.
    """
    commit = repository.commit(base)
    if commit is None:
        if repository.is_shallow():
            raise PipelineError(f"{base!r} is not in this shallow clone: `git fetch --unshallow` brings all")
        if repository.commits() <= 1:
            raise NoIncumbentError("this is the first commit")
        raise PipelineError(
            f"{base!r} is no revision here: `git fetch origin main`, or name another as in `make review BASE=HEAD~1`"
        )
    content = repository.content(commit, lock.NAME)
    if content is None:
        if moved := [path for path in repository.files(commit, lock.NAME) if not (repository.root() / path).exists()]:
            raise PipelineError(
                f"{moved[0]} of {base} is gone and here is another: move a project and change its model one after the "
                "other"
            )
        raise NoIncumbentError(f"{base} has no {lock.NAME}")
    incumbent = Incumbent(base, commit, lock.parse(content, f"at {base}"), folder)
    if not incumbent.has(MODEL):
        raise PipelineError(f"{lock.NAME} at {base} records no {MODEL}: name a revision that has a model, BASE=...")
    return incumbent
