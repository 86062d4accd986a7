"""Stage `prepare`: shards become one memory-mapped array of fixed-size pixels, checked and split.

dvc repro prepare
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from math import prod
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import Progress

from model.inputs import InputError, Shape, decode, to_pixels
from pipelines import params
from pipelines.command import PipelineError, run
from pipelines.dvc import DATA
from pipelines.training import dataset, reference, shards, split

RESERVED = {"id", "quantized", "float"}
"""Columns that the pipeline writes itself."""


@dataclass
class _Decoded:
    """What is known of each image once it has been decoded: a few bytes an image."""

    ids: NDArray[np.bytes_]
    duplicates: NDArray[np.uint64]
    smallest: tuple[int, int]
    largest: tuple[int, int]


def prepare(data: Path, folder: Path, settings: params.Prepare) -> dataset.Schema:
    """Write a folder's shards as a prepared data set; needs memory for ids and labels, not for images.

    Raises PipelineError for an image that does not decode, an unknown split, or data that cannot be learned from.
    """
    source = shards.open_dataset(data)
    _check_columns(source, data)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    decoded = _decode(source, folder / dataset.IMAGES, settings.shape)
    columns = source.to_table(columns=[name for name in source.schema.names if name != "image"]).combine_chunks()
    table, schema = _describe(columns, decoded, settings)
    _check(schema, data)
    pq.write_table(table, folder / dataset.EXAMPLES, compression="zstd")
    result = dataset.Dataset(folder)
    (folder / dataset.SCHEMA).write_bytes(msgspec.json.format(msgspec.json.encode(schema)) + b"\n")
    low, high = reference.pixel_range(result.batches(np.arange(schema.examples)))
    if low == high:
        raise PipelineError(f"every pixel of {data}/ has the value {low}: the images are blank")
    statistics = reference.compute(result.batches(result.indices(split.TRAIN)), schema.counts[split.TRAIN])
    (folder / dataset.REFERENCE).write_bytes(msgspec.json.format(msgspec.json.encode(statistics)) + b"\n")
    return schema


def _check_columns(source: ds.Dataset, data: Path) -> None:
    if not source.count_rows():
        raise PipelineError(f"{data}/ holds no examples: fill it with `make data`")
    if nulls := source.count_rows(filter=ds.field("label").is_null() | ds.field("image").is_null()):
        raise PipelineError(f"{data}/ holds {nulls:,} examples without a label or an image")
    if taken := RESERVED & set(source.schema.names):
        raise PipelineError(f"{data}/ has a column {min(taken)!r}, which the pipeline writes itself: rename it")


def _decode(source: ds.Dataset, images: Path, shape: Shape) -> _Decoded:
    """Write all images as uint8 [n, height, width, channels]."""
    total = source.count_rows()
    ids, duplicates = np.empty(total, "S32"), np.empty(total, np.uint64)
    smallest, largest = (1 << 30, 1 << 30), (0, 0)
    position = 0
    with images.open("wb") as file, Progress() as progress:
        task = progress.add_task("prepare", total=total)
        # Written, not memory-mapped: a full disk is then an error rather than a fatal signal.
        header = {"descr": "|u1", "fortran_order": False, "shape": (total, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for batch in shards.batches(source, ["image", "label"]):
            for data, label in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                try:
                    image = decode(data)
                except InputError as error:
                    raise PipelineError(f"an example of class {label!r} in data/: {error}") from error
                block = to_pixels(image, shape).tobytes()
                file.write(block)
                ids[position] = split.pixel_id(image)
                duplicates[position] = int.from_bytes(hashlib.sha256(block).digest()[:8])
                smallest, largest = min(smallest, image.size, key=prod), max(largest, image.size, key=prod)
                position += 1
            progress.advance(task, batch.num_rows)
    return _Decoded(ids, duplicates, smallest, largest)


def _describe(columns: pa.Table, decoded: _Decoded, settings: params.Prepare) -> tuple[pa.Table, dataset.Schema]:
    """Return the examples' table with id and split, and what is known of the data."""
    ids = decoded.ids.astype(str)
    stated = _stated_splits(columns)
    sources = np.array(columns.column("source").fill_null("").to_pylist())
    proposed = split.propose(ids, stated, sources, settings.validation, settings.test)
    splits = split.unite(proposed, decoded.duplicates)
    labels = columns.column("label").to_pylist()
    names = sorted(set(labels), key=lambda name: (int(name) if name.isdecimal() else 0, name))
    order = {name: position for position, name in enumerate(names)}
    targets = np.array([order[label] for label in labels])
    _, first, group = np.unique(decoded.duplicates, return_index=True, return_inverse=True)
    counts = {
        part: dict(zip(names, np.bincount(targets[splits == part], minlength=len(names)).tolist(), strict=True))
        for part in (split.TRAIN, split.VALIDATION, split.TEST)
    }
    test = np.flatnonzero(splits == split.TEST)
    schema = dataset.Schema(
        labels=names,
        input_shape=settings.shape,
        examples=len(ids),
        counts=counts,
        smallest=decoded.smallest,
        largest=decoded.largest,
        duplicates=len(ids) - len(first),
        label_conflicts=ids[targets != targets[first][group]].tolist(),
        moved=int(np.sum(proposed != splits)),
        data_sha256=_hash(settings.shape, ids.tolist(), labels, splits.tolist()),
        test_sha256=_hash(settings.shape, ids[test].tolist(), [labels[position] for position in test]),
    )
    own = {"id": ids, "label": labels, "split": splits}
    rest = {name: columns.column(name) for name in columns.column_names if name not in own}
    return pa.table(own | rest), schema


def _stated_splits(columns: pa.Table) -> split.Names:
    stated = columns.column("split").fill_null("").to_pylist()
    if unknown := sorted({name for name in stated if name and name not in split.NAMES}):
        raise PipelineError(f"unknown split {unknown[0]!r} in data/: expected one of {', '.join(split.NAMES)}")
    return np.array([split.NAMES.get(name, "") for name in stated])


def _hash(shape: Shape, *columns: list[str]) -> str:
    digest = hashlib.sha256(repr(shape).encode())
    for column in columns:
        digest.update("\0".join(column).encode() + b"\0\0")
    return digest.hexdigest()


def _check(schema: dataset.Schema, data: Path) -> None:
    if len(schema.labels) < 2:
        raise PipelineError(f"{data}/ has the single class {schema.labels[0]!r}: a classifier needs at least two")
    if untrained := schema.missing(split.TRAIN):
        raise PipelineError(
            f"no {split.TRAIN} example of {', '.join(map(repr, untrained[:10]))}: add images with "
            "`make data SOURCE=...`, or lower prepare.test and prepare.validation in params.yaml"
        )
    for part in (split.VALIDATION, split.TEST):
        if not any(schema.counts[part].values()):
            raise PipelineError(
                f"no {part} example at all: add images with `make data SOURCE=...`. A source that states only a "
                "training split brings no test images: put them into its test/ folder, or leave the split out"
            )


def main() -> None:
    schema = prepare(DATA, dataset.FOLDER, params.load().prepare)
    parts = ", ".join(f"{sum(counts.values()):,} {part}" for part, counts in schema.counts.items())
    print(f"prepare: {schema.examples:,} examples of {len(schema.labels)} classes: {parts}")
    for count, what in (
        (schema.duplicates, "duplicates, each in the split of its first"),
        (schema.moved, "examples moved to the split of their first duplicate"),
        (
            len(schema.label_conflicts),
            "examples with the pixels of one that has another label (schema.json lists them)",
        ),
        (len(schema.missing(split.VALIDATION)), "classes without a validation example"),
        (len(schema.missing(split.TEST)), "classes without a test example: their accuracy is not known"),
    ):
        if count:
            print(f"prepare: {count:,} {what}")


if __name__ == "__main__":
    run(main)
