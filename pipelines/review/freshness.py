"""Whether artifacts/ is what the code, params and data of this working tree make."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from pipelines.command import PipelineError
from pipelines.dvc import DATA, dvc
from pipelines.review import lock

STAGES = ("prepare", "train", "quantize", "evaluate")


def check() -> None:
    """Raise PipelineError naming the stages that must run again, or DVC's own words when it cannot tell."""
    pipeline = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    if frozen := [stage for stage, content in pipeline.items() if content.get("frozen")]:
        raise PipelineError(f"dvc.yaml freezes {', '.join(frozen)}: `dvc unfreeze` it, or a change goes unnoticed")
    # A clone that restored artifacts/ from the cache has no need of data/.
    stages = STAGES if DATA.exists() else STAGES[1:]
    stale = json.loads(dvc("status", "--json", *stages))
    if not DATA.exists() and _recorded_data() != _prepared_data():
        stale = {"prepare": [], **stale}
    if stale:
        raise PipelineError(
            f"artifacts/ is not what code, data and params.yaml make ({', '.join(stale)}): run `make repro`"
        )


def _recorded_data() -> str:
    record = yaml.safe_load(DATA.with_name(f"{DATA.name}.dvc").read_text())
    return str(record["outs"][0]["md5"])


def _prepared_data() -> str | None:
    path = Path(lock.NAME)
    stages = lock.parse(path.read_bytes(), "of this working tree").stages if path.exists() else {}
    prepare = stages.get("prepare", lock.Stage())
    return next((dep.md5 for dep in prepare.deps if dep.path == str(DATA)), None)
