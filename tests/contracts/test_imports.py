"""Who may know whom: pipelines -> model <- serving; within pipelines one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contracts.imports import imports

PACKAGES = ("model", "pipelines", "serving")
HEAVY = {"tensorflow", "keras"}
AFTER_REVIEW = ("pipelines.delivery", "pipelines.recovery", "pipelines.local_forge", "pipelines.operations", "serving")
FORBIDDEN = {
    "model": {"pipelines", "serving"},
    "serving": {"pipelines"} | HEAVY,
    "pipelines/training": {"pipelines.tracking", "pipelines.review", *AFTER_REVIEW},
    "pipelines/tracking": {"pipelines.review", *AFTER_REVIEW} | HEAVY,
    "pipelines/review": {"pipelines.tracking", *AFTER_REVIEW} | HEAVY,
    "pipelines/delivery": {"pipelines.recovery", "pipelines.local_forge", "pipelines.operations", "serving"} | HEAVY,
    "pipelines/recovery": {"pipelines.local_forge", "pipelines.operations", "serving"} | HEAVY,
    "pipelines/local_forge": {"pipelines.operations", "serving"} | HEAVY,
}
# TensorFlow trains and converts; nothing else may need it.
TENSORFLOW = {
    "model/network.py",
    "pipelines/training/determinism.py",
    "pipelines/training/train.py",
    "pipelines/training/quantize.py",
}


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_nobody_knows_what_they_must_not(package: str) -> None:
    """No file of a package imports what lies after it."""
    for path in (ROOT / package).rglob("*.py"):
        wrong = {name for name in imports(path) for module in FORBIDDEN[package] if within(name, module)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_tensorflow_stays_where_it_is_needed() -> None:
    """Only the network, its training and its conversion import TensorFlow or Keras."""
    users = {
        str(path.relative_to(ROOT)) for path in modules() if {name.split(".")[0] for name in imports(path)} & HEAVY
    }
    assert users == TENSORFLOW
