"""dvc.yaml, params.yaml and the scripts: one word each, and a stage runs again when anything it runs has changed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from pipelines.params import Params
from tests.conftest import ROOT
from tests.contracts.imports import project_imports

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# Messages, commands and the types of params.
PLUMBING = {f"pipelines/{name}.py" for name in ("command", "documents", "dvc", "logs", "params")}
# These decide what `prepare` writes; later stages take only types and names from them.
OF_PREPARE = {"model/inputs.py", "pipelines/training/schema.py", "pipelines/training/split.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_script_and_params_share_a_word(stage: str) -> None:
    """Stage `x` runs pipelines/training/x.py, which is a dependency, and params.yaml has a section x."""
    assert STAGES[stage]["cmd"] == f"python -m pipelines.training.{stage}"
    assert f"pipelines/training/{stage}.py" in STAGES[stage]["deps"]
    assert stage in STAGES[stage]["params"]
    assert stage in {field.name for field in msgspec.structs.fields(Params)}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    """Every file of the project that a stage imports is a dependency, but for what all share."""
    files = project_imports(ROOT / f"pipelines/training/{stage}.py")
    needed = {str(path.relative_to(ROOT)) for path in files}
    assert needed <= set(STAGES[stage]["deps"]) | PLUMBING | (OF_PREPARE if stage != "prepare" else set())


def test_every_dependency_exists_or_is_made() -> None:
    """No stage waits for a file that neither Git nor another stage has."""
    made = {"data"}
    for stage in STAGES.values():
        for dependency in stage["deps"]:
            assert dependency in made or (ROOT / dependency).is_file(), dependency
        made.update(stage["outs"])


def test_git_ignores_what_dvc_stores() -> None:
    """Weights can never be committed by `git add --all`, whatever state a failed run left."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/data" in ignored
    assert "/artifacts/*" in ignored
    assert all(out.startswith("artifacts/") for stage in STAGES.values() for out in stage["outs"])
