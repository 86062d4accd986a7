"""`make review` when nothing changed, and the judging of a large test set."""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.timing import Row
from pipelines import params
from pipelines.review import outcomes, quality

EXAMPLES, CLASSES = 100_000, 100
LABELS = [f"class {number}" for number in range(CLASSES)]


def measure() -> Iterator[Row]:
    start = time.perf_counter()
    subprocess.run(["make", "review", "BASE=HEAD"], check=True, capture_output=True)
    yield "make review, nothing changed", f"{time.perf_counter() - start:.1f} s", "seconds"
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(("candidate", "incumbent")):
            _write(seed, Path(folder) / name)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            seconds, megabytes = pool.submit(_judge, Path(folder)).result()
    what = f"judging {EXAMPLES:,} examples of {CLASSES} classes"
    yield what, f"{seconds:.1f} s, {megabytes:,.0f} MB", "under 10 s"


def _write(seed: int, path: Path) -> None:
    generator = np.random.default_rng(seed)
    targets = np.random.default_rng(9).integers(0, CLASSES, EXAMPLES)
    shares = generator.random((EXAMPLES, CLASSES), np.float32)
    shares[np.arange(EXAMPLES), targets] += 100 * generator.random(EXAMPLES, np.float32)
    shares /= shares.sum(axis=1, keepdims=True)
    column = pa.FixedSizeListArray.from_arrays(pa.array(shares.ravel()), CLASSES)
    table = pa.table({"id": [f"{number:032x}" for number in range(EXAMPLES)], "label": np.array(LABELS)[targets]})
    pq.write_table(table.append_column("quantized", column).append_column("float", column), path)


def _judge(folder: Path) -> tuple[float, float]:
    """Return the seconds that it took and the most memory that it held, in MB."""
    start = time.perf_counter()
    ours, theirs = (outcomes.read(folder / name, LABELS, LABELS) for name in ("candidate", "incumbent"))
    pair = quality.Pair(ours, theirs, np.ones(EXAMPLES, np.bool_))
    held = pa.table({"id": ["a"], "invariance/shift": [True]})
    examples = outcomes.examples(folder / "candidate")
    list(quality.findings(pair, examples, held, held, CLASSES, params.load()))
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
