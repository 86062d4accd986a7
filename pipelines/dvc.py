"""DVC as a person would call it: its command line is its stable interface."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipelines.command import PipelineError

DATA = Path("data")
"""The data set, which data.dvc records."""

# s3fs repeats requests too: with botocore's own five attempts a dead remote takes minutes to be called dead.
FEW_ATTEMPTS = {"AWS_MAX_ATTEMPTS": "2"}


def dvc(*arguments: str, timeout: float | None = None) -> str:
    """Run a command and return what it printed.

    Raises PipelineError with DVC's own words when it fails, or when it takes longer than `timeout`, in seconds.
    """
    try:
        result = _call(arguments, timeout)
    except subprocess.TimeoutExpired:
        raise PipelineError(f"dvc {' '.join(arguments)}: no answer within {timeout:g} s") from None
    if result.returncode:
        raise PipelineError(f"dvc {' '.join(arguments)}: {_reason(result.stderr or result.stdout)}")
    return result.stdout


def succeeds(*arguments: str) -> bool:
    return _call(arguments).returncode == 0


def show(*arguments: str) -> int:
    """Run a command that talks to the terminal, and return its exit code."""
    return subprocess.run([*_DVC, *arguments], env=_environment(), check=False).returncode  # noqa: S603 (our arguments)


_DVC = (sys.executable, "-m", "dvc")


def _call(arguments: tuple[str, ...], timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    command = [*_DVC, *arguments]
    return subprocess.run(  # noqa: S603 (our own arguments)
        command, capture_output=True, text=True, check=False, timeout=timeout, env=_environment()
    )


def _environment() -> dict[str, str]:
    return FEW_ATTEMPTS | os.environ


def _reason(printed: str) -> str:
    errors = [line.removeprefix("ERROR: ") for line in printed.splitlines() if line.startswith("ERROR: ")]
    return "; ".join(errors) or printed.strip()
