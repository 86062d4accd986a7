"""`dvc repro` when nothing changed: the price of asking."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.timing import Row, interleave
from pipelines.dvc import dvc


def measure() -> Iterator[Row]:
    calls = {"repro": partial(dvc, "repro", "--quiet"), "version": partial(dvc, "--version")}
    found = interleave(calls, rounds=9, calls=1)
    yield "dvc repro, nothing changed", f"{found['repro']:.2f} s", "under 1.50 s"
    yield "dvc --version, to compare", f"{found['version']:.2f} s", ""
