"""Parquet shards: few and large, byte-identical for the same examples, never changed once written."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.command import PipelineError

SCHEMA = pa.schema(
    [("image", pa.binary()), ("label", pa.string()), ("split", pa.string()), ("source", pa.string())],
)
ROW_GROUP_BYTES = 16 * 2**20
SHARD_BYTES = 128 * 2**20


class Example(NamedTuple):
    image: bytes
    label: str
    split: str | None
    source: str

    def key(self) -> int:
        """Return the first 64 bits of a hash of what the shard stores, but for the source's name."""
        text = f"{self.label}\0{self.split or ''}\0".encode()
        return int.from_bytes(hashlib.sha256(text + self.image).digest()[:8])


class Writer:
    """Collects examples into shards beside the target folder and moves them in when all is well.

    A shard's number says when it came: shards are read in the order of their names, and what came first decides.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._source = re.sub(r"[^\w.-]+", "-", source)[:40] or "source"
        self._next = 1 + max((_number(path) for path in folder.glob("*.parquet")), default=-1)
        self._partial = folder.with_name(f".{folder.name.lstrip('.')}.partial")
        self._rows: list[Example] = []
        self._row_bytes = 0
        self._shard: pq.ParquetWriter | None = None
        self._shard_bytes = 0
        self.shards: list[Path] = []
        """Where the shards are once the block has ended."""

    def __enter__(self) -> Self:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def add(self, example: Example) -> None:
        self._rows.append(example)
        self._row_bytes += len(example.image)
        if self._row_bytes >= ROW_GROUP_BYTES:
            self._write_rows()

    def _write_rows(self) -> None:
        if not self._rows:
            return
        if self._shard is None:
            name = f"{self._next + len(self.shards):05}-{self._source}.parquet"
            self.shards.append(self._folder / name)
            self._shard = pq.ParquetWriter(self._partial / name, SCHEMA, compression="zstd", use_dictionary=False)
        self._shard.write_table(pa.Table.from_pylist([row._asdict() for row in self._rows], SCHEMA))
        self._shard_bytes += self._row_bytes
        self._rows, self._row_bytes = [], 0
        if self._shard_bytes >= SHARD_BYTES:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._shard is not None:
            self._shard.close()
        self._shard, self._shard_bytes = None, 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write_rows()
            self._close_shard()
            if kind is None:
                self._folder.mkdir(exist_ok=True)
                for shard in self.shards:
                    (self._partial / shard.name).replace(shard)
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)


def _number(path: Path) -> int:
    digits = re.match(r"\d+", path.name)
    return int(digits[0]) if digits else -1


def open_dataset(folder: Path) -> ds.Dataset:
    """Open all shards as one table, in the order of their names; a column that a shard lacks is null there.

    Raises PipelineError when a file is not Parquet, or its columns do not fit those of the others.
    """
    files = sorted(folder.glob("*.parquet"))
    schema = SCHEMA
    for file in files:
        try:
            found = pq.read_schema(file).remove_metadata()
            ours = [field if field.name not in SCHEMA.names else SCHEMA.field(field.name) for field in found]
            _check_types(found)
            schema = pa.unify_schemas([schema, pa.schema(ours)], promote_options="permissive")
        except pa.ArrowException as error:
            raise PipelineError(f"{file} is not a shard of images: {error}") from error
    return ds.dataset([str(file) for file in files], schema=schema, format="parquet")


def _check_types(found: pa.Schema) -> None:
    """Accept other libraries' ways to store bytes and text: large types, and dictionaries of categories."""
    accepted = {"image": (pa.types.is_binary, pa.types.is_large_binary)}
    for name in SCHEMA.names:
        if name in found.names:
            kind = found.field(name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            tests = accepted.get(name, (pa.types.is_string, pa.types.is_large_string, pa.types.is_null))
            if not any(test(kind) for test in tests):
                raise pa.ArrowTypeError(f"column {name} is {kind}, expected {SCHEMA.field(name).type}")


def batches(dataset: ds.Dataset, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield record batches of bounded size, in order."""
    options = ds.ParquetFragmentScanOptions(pre_buffer=False)
    return iter(
        dataset.to_batches(
            columns=columns, batch_size=256, batch_readahead=0, fragment_readahead=0, fragment_scan_options=options
        )
    )


def keys(folder: Path) -> NDArray[np.uint64]:
    """Return the sorted keys of all examples in a folder: eight bytes an example."""
    found = [
        np.array(
            [Example(**row, source="").key() for row in batch.to_pylist() if None not in (row["image"], row["label"])],
            np.uint64,
        )
        for batch in batches(open_dataset(folder), ["image", "label", "split"])
    ]
    return np.sort(np.concatenate(found)) if found else np.empty(0, np.uint64)


def labels(folder: Path) -> set[str]:
    found: set[str] = set()
    for batch in batches(open_dataset(folder), ["label"]):
        found.update(batch.column("label").unique().to_pylist())
    return found
