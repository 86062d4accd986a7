"""Who may know whom: pipelines -> model <- serving; within pipelines one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contracts.imports import imports

PACKAGES = ("model", "pipelines", "serving")
HEAVY = {"tensorflow", "keras"}
CHAIN = ("training", "tracking", "review", "delivery", "clusters", "recovery", "local_forge", "operations")
"""Packages of pipelines/: none knows one that comes later, and review knows nothing of tracking."""


def after(name: str) -> set[str]:
    return {f"pipelines.{later}" for later in CHAIN[CHAIN.index(name) + 1 :]} | {"serving"}


FORBIDDEN = {
    "model": {"pipelines", "serving"},
    "serving": {"pipelines"} | HEAVY,
    "pipelines/training": after("training"),
    **{f"pipelines/{name}": after(name) | HEAVY for name in CHAIN[1:]},
}
FORBIDDEN["pipelines/review"] |= {"pipelines.tracking"}
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
