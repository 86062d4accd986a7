"""What a file of the project imports, read from its text."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import ROOT


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
