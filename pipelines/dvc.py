"""DVC as a person would call it: its command line is its stable interface."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipelines.command import PipelineError

DATA = Path("data")
"""The data set, which data.dvc records."""


def dvc(*arguments: str) -> str:
    """Run a command and return what it printed. Raises PipelineError with DVC's own words when it fails."""
    result = _call(arguments)
    if result.returncode:
        raise PipelineError(f"dvc {' '.join(arguments)}: {(result.stderr or result.stdout).strip()}")
    return result.stdout


def succeeds(*arguments: str) -> bool:
    return _call(arguments).returncode == 0


def _call(arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
