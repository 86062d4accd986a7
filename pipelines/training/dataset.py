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

ARTIFACTS = Path("artifacts")
FOLDER = ARTIFACTS / "dataset"
WEIGHTS = ARTIFACTS / "model.weights.h5"
IMAGES, EXAMPLES, SCHEMA, REFERENCE = "images.npy", "examples.parquet", "schema.json", "reference.json"
COLUMNS = ("id", "label", "split")


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` found in the data, and held it against."""

    labels: list[str]
    input_shape: tuple[int, int, int]
    examples: int
    counts: dict[str, dict[str, int]]
    """Examples by split and label."""
    smallest: tuple[int, int]
    largest: tuple[int, int]
    """Width and height of the original images."""
    pixel_range: tuple[int, int]
    duplicates: int
    """Examples whose prepared pixels came before."""
    label_conflicts: list[str]
    """Ids of examples whose prepared pixels came before under another label."""
    moved: int
    """Examples whose stated split was overruled because their duplicate is in another."""
    data_sha256: str
    test_sha256: str


@dataclass(frozen=True)
class Dataset:
    folder: Path = FOLDER

    @cached_property
    def schema(self) -> Schema:
        return msgspec.json.decode((self.folder / SCHEMA).read_bytes(), type=Schema)

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

    def batches(self, indices: NDArray[np.int64], size: int = 256) -> Iterator[Pixels]:
        """Yield the images at some positions, in order, so that they need not fit into memory at once."""
        for start in range(0, len(indices), size):
            yield self.images[indices[start : start + size]]

    def indices(self, split: str) -> NDArray[np.int64]:
        """Return the sorted positions of a split's examples."""
        return np.flatnonzero(self.examples.column("split").to_numpy(zero_copy_only=False) == split)
