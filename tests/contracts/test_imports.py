"""Who may know whom: pipelines -> model <- serving, and within pipelines training, then review, then delivery."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("model", "pipelines", "serving")
HEAVY = {"tensorflow", "keras"}
FORBIDDEN = {
    "model": {"pipelines", "serving"},
    "serving": {"pipelines"} | HEAVY,
    "pipelines/training": {"pipelines.review", "pipelines.delivery", "pipelines.operations", "serving"},
    "pipelines/review": {"pipelines.delivery", "pipelines.operations", "serving"} | HEAVY,
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


def imports(path: Path) -> set[str]:
    """Return every module that a file imports, with `from a import b` as both a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


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


def project_imports(path: Path) -> set[Path]:
    """Return the project's own files that a file imports, directly or through others."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        for name in imports(waiting.pop()):
            file = ROOT / f"{name.replace('.', '/')}.py"
            if file.is_file() and file not in found:
                found.add(file)
                waiting.append(file)
    return found
