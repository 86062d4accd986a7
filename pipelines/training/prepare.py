"""Stage `prepare`: shards become one memory-mapped array of fixed-size pixels, checked and split.

dvc repro prepare
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import Progress

from model.inputs import InputError, Pixels, Shape, decode, to_pixels
from pipelines import params
from pipelines.command import PipelineError, run
from pipelines.dvc import DATA
from pipelines.training import dataset, reference, shards, split

Duplicates = NDArray[np.uint64]


def prepare(data: Path, folder: Path, settings: params.Prepare) -> dataset.Schema:
    """Write a folder's shards as a prepared data set; needs memory for ids and labels, not for images.

    Raises PipelineError for an image that does not decode, an unknown split, or data that cannot be learned from.
    """
    source = shards.open_dataset(data)
    total = source.count_rows()
    if not total:
        raise PipelineError(f"{data}/ holds no examples: fill it with `make data`")
    if nulls := source.count_rows(filter=ds.field("label").is_null() | ds.field("image").is_null()):
        raise PipelineError(f"{data}/ holds {nulls:,} examples without a label or an image")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sizes: list[tuple[int, int]] = []
    ids: list[str] = []
    duplicates: list[int] = []
    with (folder / dataset.IMAGES).open("wb") as file:
        # Written, not memory-mapped: a full disk is then an error rather than a fatal signal.
        shape = (total, *settings.shape)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for image_id, size, pixels in _decode(source, settings.shape, total):
            block = pixels.tobytes()
            file.write(block)
            ids.append(image_id)
            sizes.append(size)
            duplicates.append(int.from_bytes(hashlib.sha256(block).digest()[:8]))
    extra = [name for name in source.schema.names if name != "image"]
    columns = source.to_table(columns=extra).combine_chunks()
    table, schema = _describe(columns, np.array(ids), np.array(duplicates, np.uint64), sizes, settings)
    _check(schema, data)
    pq.write_table(table, folder / dataset.EXAMPLES, compression="zstd")
    result = dataset.Dataset(folder)
    low, high = reference.pixel_range(result.batches(np.arange(total)))
    schema = msgspec.structs.replace(schema, pixel_range=(low, high))
    if low == high:
        raise PipelineError(f"every pixel of {data}/ has the value {low}: the images are blank")
    (folder / dataset.SCHEMA).write_bytes(msgspec.json.format(msgspec.json.encode(schema)) + b"\n")
    statistics = reference.compute(result.batches(result.indices(split.TRAIN)), schema.counts[split.TRAIN])
    (folder / dataset.REFERENCE).write_bytes(msgspec.json.format(msgspec.json.encode(statistics)) + b"\n")
    return schema


def _decode(source: ds.Dataset, shape: Shape, total: int) -> Iterator[tuple[str, tuple[int, int], Pixels]]:
    """Yield each image's pixel id, its original width and height, and its prepared pixels."""
    with Progress() as progress:
        task = progress.add_task("prepare", total=total)
        for batch in shards.batches(source, ["image", "label"]):
            for data, label in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                try:
                    image = decode(data)
                except InputError as error:
                    raise PipelineError(f"an example of class {label!r} in data/: {error}") from error
                yield split.pixel_id(image), image.size, to_pixels(image, shape)
            progress.advance(task, batch.num_rows)


def _describe(
    columns: pa.Table, ids: split.Names, duplicates: Duplicates, sizes: list[tuple[int, int]], settings: params.Prepare
) -> tuple[pa.Table, dataset.Schema]:
    """Return the examples' table with id and split, and what is known of the data."""
    labels = np.array(columns.column("label").to_pylist())
    given = _stated_splits(columns)
    splits = split.assign(ids, given, duplicates, settings.validation, settings.test)
    names = sorted(set(labels.tolist()), key=lambda name: (int(name) if name.isdecimal() else 0, name))
    _, first, group = np.unique(duplicates, return_index=True, return_inverse=True)
    test = splits == split.TEST
    schema = dataset.Schema(
        labels=names,
        input_shape=settings.shape,
        examples=len(ids),
        counts={
            part: {name: int(np.sum((splits == part) & (labels == name))) for name in names}
            for part in (split.TRAIN, split.VALIDATION, split.TEST)
        },
        smallest=min(sizes),
        largest=max(sizes),
        pixel_range=(0, 255),
        duplicates=len(ids) - len(first),
        label_conflicts=ids[labels != labels[first][group]].tolist(),
        moved=int(np.sum((given != "") & (given != splits) & ~((given == split.TRAIN) & (splits == split.VALIDATION)))),
        data_sha256=_hash(settings.shape, ids, labels, splits),
        test_sha256=_hash(settings.shape, ids[test], labels[test]),
    )
    rest = columns.drop_columns(["label", "split"])
    table = pa.table(
        {"id": ids, "label": labels, "split": splits} | {name: rest.column(name) for name in rest.column_names}
    )
    return table, schema


def _stated_splits(columns: pa.Table) -> split.Names:
    stated = columns.column("split").fill_null("").to_pylist()
    if unknown := sorted({name for name in stated if name and name not in split.NAMES}):
        raise PipelineError(f"unknown split {unknown[0]!r} in data/: expected one of {', '.join(split.NAMES)}")
    return np.array([split.NAMES.get(name, "") for name in stated])


def _hash(shape: Shape, *columns: split.Names) -> str:
    digest = hashlib.sha256(repr(shape).encode())
    for column in columns:
        digest.update("\0".join(column.tolist()).encode())
    return digest.hexdigest()


def _check(schema: dataset.Schema, data: Path) -> None:
    if len(schema.labels) < 2:
        raise PipelineError(f"{data}/ has the single class {schema.labels[0]!r}: a classifier needs at least two")
    for part in (split.TRAIN, split.VALIDATION, split.TEST):
        missing = [label for label, count in schema.counts[part].items() if not count]
        if missing:
            classes = ", ".join(map(repr, missing[:10]))
            change = "lower prepare.test" if part == split.TRAIN else f"raise prepare.{part}"
            raise PipelineError(
                f"no {part} example of {classes}: add images with `make data SOURCE=...`, or {change} in params.yaml"
            )


def main() -> None:
    schema = prepare(DATA, dataset.FOLDER, params.load().prepare)
    parts = ", ".join(f"{sum(counts.values()):,} {part}" for part, counts in schema.counts.items())
    print(f"prepare: {schema.examples:,} examples of {len(schema.labels)} classes: {parts}")
    for count, what in (
        (schema.duplicates, "duplicates, each in the split of its first"),
        (schema.moved, "examples moved out of the split they came with, where their duplicate is in another"),
        (
            len(schema.label_conflicts),
            "examples with the pixels of one that has another label (schema.json lists them)",
        ),
    ):
        if count:
            print(f"prepare: {count:,} {what}")


if __name__ == "__main__":
    run(main)
