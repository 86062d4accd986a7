"""The prepared data set on disk: what `prepare` writes and every later stage reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.inputs import Pixels
from pipelines.command import PipelineError
from pipelines.training.schema import Schema

ARTIFACTS = Path("artifacts")
FOLDER = ARTIFACTS / "dataset"
WEIGHTS = ARTIFACTS / "model.weights.h5"
IMAGES, EXAMPLES, SCHEMA = "images.npy", "examples.parquet", "schema.json"
PREDICTIONS, BEHAVIOUR = "predictions.parquet", "behaviour.parquet"
COLUMNS = ("id", "label", "split")
ANSWERS = ("quantized", "float")
"""Columns of predictions.parquet with each file's probabilities."""
BATCH_BYTES = 2**20


def spread(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most so many of the indices, evenly spread."""
    return indices[:: -(-len(indices) // most)]


@dataclass(frozen=True)
class Dataset:
    folder: Path = FOLDER

    @cached_property
    def schema(self) -> Schema:
        path = self.folder / SCHEMA
        try:
            return msgspec.json.decode(path.read_bytes(), type=Schema)
        except (OSError, msgspec.DecodeError) as error:
            raise PipelineError(f"{path}: run `dvc repro prepare`: {error}") from error

    @cached_property
    def images(self) -> Pixels:
        """All examples, memory-mapped: uint8 [n, height, width, channels]."""
        return np.load(self.folder / IMAGES, mmap_mode="r")  # type: ignore[no-any-return]

    @cached_property
    def examples(self) -> pa.Table:
        """A row an example, in the order of the images: id, label, split and the data's extra columns."""
        return pq.read_table(self.folder / EXAMPLES)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Each example's position in schema.labels: int64 [n]."""
        order = {label: position for position, label in enumerate(self.schema.labels)}
        return np.array([order[label] for label in self.examples.column("label").to_pylist()], np.int64)

    def batches(self, indices: NDArray[np.int64]) -> Iterator[Pixels]:
        """Yield the images at some positions, in order, so that they need not fit into memory at once."""
        for chunk in self.chunks(indices):
            yield self.images[chunk]

    def chunks(self, indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield positions, in order, a batch at a time.

        A network's activations take many times the memory of its input: batches of large images are smaller.
        """
        size = max(1, min(256, BATCH_BYTES // self.images[0].nbytes))
        for start in range(0, len(indices), size):
            yield indices[start : start + size]

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the sorted positions of a split's examples."""
        return np.flatnonzero(self.examples.column("split").to_numpy(zero_copy_only=False) == split)
