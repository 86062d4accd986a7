"""`dvc.lock` as a review reads it: which bytes each stage made, of what, with which settings."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from pipelines.command import PipelineError

NAME = "dvc.lock"
CODE_OF_BEHAVIOUR = ("behaviour.py", "corruptions.py", "dataset.py")
"""Of pipelines/training, what decides which expectation holds for a model."""


class File(msgspec.Struct, frozen=True):
    path: str
    md5: str | None = None


class Stage(msgspec.Struct, frozen=True):
    deps: list[File] = []
    outs: list[File] = []
    params: dict[str, dict[str, Any]] = {}


class Lock(msgspec.Struct, frozen=True):
    stages: dict[str, Stage] = {}

    def output(self, path: str) -> str | None:
        """Return the md5 of what a stage made at a path, or None when none did."""
        made = (out.md5 for stage in self.stages.values() for out in stage.outs if out.path == path)
        return next(made, None)

    def behaviour(self) -> tuple[Any, ...] | None:
        """Return what decides how behaviour was tested: code, settings and the shape of the input, if all is known."""
        evaluate, prepare = self.stages.get("evaluate"), self.stages.get("prepare")
        if evaluate is None or prepare is None:
            return None
        code = {dep.path: dep.md5 for dep in evaluate.deps}
        found = (
            *(code.get(f"pipelines/training/{name}") for name in CODE_OF_BEHAVIOUR),
            evaluate.params.get("params.yaml", {}).get("evaluate", {}).get("behaviour"),
            prepare.params.get("params.yaml", {}).get("prepare"),
        )
        return found if all(found) else None


def parse(data: bytes, where: str) -> Lock:
    """Raise PipelineError for what is no lock."""
    try:
        return msgspec.convert(yaml.load(data, yaml.CSafeLoader), Lock)
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PipelineError(f"{NAME} {where} cannot be read: {error}") from error
