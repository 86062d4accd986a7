"""`prepare` on generated 28x28 images: speed, and that time grows with the number of images and no faster."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import Row
from pipelines import params
from pipelines.training import shards
from pipelines.training.encoding import encode
from pipelines.training.prepare import prepare

SETTINGS = params.Prepare(height=28, width=28, channels=1, validation=0.15, test=0.25)
COUNTS = (15_000, 60_000)


def measure() -> Iterator[Row]:
    rates = {}
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            _write(data, count)
            # Processor time, so that the result is of one core whatever else the machine does.
            start = time.process_time()
            prepare(data, Path(folder) / "dataset", SETTINGS)
            rates[count] = count / (time.process_time() - start)
            yield f"prepare, {count:,} images of 28x28", f"{rates[count]:,.0f} images a second a core", "at least 5,000"
    small, large = COUNTS
    yield (
        f"prepare, time an image, {large:,} against {small:,}",
        f"{rates[small] / rates[large]:.2f}",
        "about 1: time grows linearly",
    )


def _write(data: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    with shards.Writer(data, "generated") as writer:
        for number in range(count):
            image = Image.fromarray(generator.integers(0, 256, (28, 28), np.uint8))
            writer.add(shards.Example(encode(image), str(number % 10), None, "generated"))
