"""Stage `prepare`: shards become one memory-mapped array of fixed-size pixels, checked and split.

dvc repro prepare
"""

from __future__ import annotations

import hashlib
import shutil
from math import prod
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from rich.progress import Progress

from model.inputs import InputError, Shape, decode, to_pixels
from pipelines import params
from pipelines.command import PipelineError, run
from pipelines.dvc import DATA
from pipelines.training import dataset, shards, split
from pipelines.training.schema import Decoded, Schema, check, describe

RESERVED = {"id", *dataset.ANSWERS}
"""Columns that the pipeline writes itself."""


def prepare(data: Path, folder: Path, settings: params.Prepare) -> Schema:
    """Write a folder's shards as a prepared data set; needs memory for ids and labels, not for images.

    Raises PipelineError for an image that does not decode, an unknown split, or data that cannot be learned from.
    """
    source = shards.open_dataset(data)
    _check_columns(source, data)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    decoded = _decode(source, folder / dataset.IMAGES, settings.shape)
    columns = source.to_table(columns=[name for name in source.schema.names if name != "image"]).combine_chunks()
    table, schema = describe(columns, decoded, settings)
    check(schema, data)
    pq.write_table(table, folder / dataset.EXAMPLES, compression="zstd")
    (folder / dataset.SCHEMA).write_bytes(msgspec.json.format(msgspec.json.encode(schema)) + b"\n")
    return schema


def _check_columns(source: ds.Dataset, data: Path) -> None:
    if not source.count_rows():
        raise PipelineError(f"{data}/ holds no examples: fill it with `make data`")
    if nulls := source.count_rows(filter=ds.field("label").is_null() | ds.field("image").is_null()):
        raise PipelineError(f"{data}/ holds {nulls:,} examples without a label or an image")
    if taken := RESERVED & set(source.schema.names):
        raise PipelineError(f"{data}/ has a column {min(taken)!r}, which the pipeline writes itself: rename it")


def _decode(source: ds.Dataset, images: Path, shape: Shape) -> Decoded:
    """Write all images as uint8 [n, height, width, channels]."""
    total = source.count_rows()
    ids, duplicates = np.empty(total, "S32"), np.empty(total, np.uint64)
    smallest, largest = (1 << 30, 1 << 30), (0, 0)
    low, high = 255, 0
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
                pixels = to_pixels(image, shape)
                block = pixels.tobytes()
                low, high = min(low, int(pixels.min())), max(high, int(pixels.max()))
                file.write(block)
                ids[position] = split.pixel_id(image)
                duplicates[position] = int.from_bytes(hashlib.sha256(block).digest()[:8])
                smallest, largest = min(smallest, image.size, key=prod), max(largest, image.size, key=prod)
                position += 1
            progress.advance(task, batch.num_rows)
    return Decoded(ids, duplicates, smallest, largest, (low, high))


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
