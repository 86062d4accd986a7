"""`make` on a fresh clone with warm package caches, and the pipeline alone."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Row


def measure() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
        yield "make, fresh clone of the last commit", f"{_seconds(['make'], clone):.0f} s", "under 180 s"
        forced = [str(clone / ".venv" / "bin" / "dvc"), "repro", "--force", "--no-run-cache"]
        yield "the pipeline alone", f"{_seconds(forced, clone):.0f} s", "under 60 s"


def _seconds(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start
