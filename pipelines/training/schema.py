"""What is known of a data set before anything learns from it, and what it is held against."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.inputs import Shape
from pipelines import params
from pipelines.command import PipelineError
from pipelines.training import split


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What `prepare` found in the data, and held it against."""

    labels: list[str]
    input_shape: tuple[int, int, int]
    examples: int
    counts: dict[str, dict[str, int]]
    """Examples by split and label."""
    smallest: tuple[int, int]
    largest: tuple[int, int]
    """Width and height of the original images with the fewest and the most pixels."""
    pixel_range: tuple[int, int]
    duplicates: int
    """Examples whose prepared pixels came before."""
    label_conflicts: list[str]
    """Ids of examples whose prepared pixels came before under another label."""
    moved: int
    """Examples that are not in the split they would have by themselves, because their first duplicate is in another."""
    data_sha256: str
    test_sha256: str

    def missing(self, split: str) -> list[str]:
        """Return the labels that a split has no example of."""
        return [label for label, count in self.counts[split].items() if not count]


@dataclass
class Decoded:
    """What is known of each image once it has been decoded: a few bytes an image."""

    ids: NDArray[np.bytes_]
    duplicates: NDArray[np.uint64]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    pixel_range: tuple[int, int]


def describe(columns: pa.Table, decoded: Decoded, settings: params.Prepare) -> tuple[pa.Table, Schema]:
    """Return the examples' table with id and split, and what is known of the data.

    columns: label, split and whatever else the shards hold, a row an example, in the order of `decoded`. Raises
    PipelineError for an unknown split.
    """
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
    schema = Schema(
        labels=names,
        input_shape=settings.shape,
        examples=len(ids),
        counts=counts,
        smallest=decoded.smallest,
        largest=decoded.largest,
        pixel_range=decoded.pixel_range,
        duplicates=len(ids) - len(first),
        label_conflicts=ids[targets != targets[first][group]].tolist(),
        moved=int(np.sum(proposed != splits)),
        data_sha256=fingerprint(settings.shape, ids.tolist(), labels, splits.tolist()),
        test_sha256=fingerprint(settings.shape, ids[test].tolist(), [labels[position] for position in test]),
    )
    own = {"id": ids, "label": labels, "split": splits}
    rest = {name: columns.column(name) for name in columns.column_names if name not in own}
    return pa.table(own | rest), schema


def _stated_splits(columns: pa.Table) -> split.Names:
    stated = columns.column("split").fill_null("").to_pylist()
    if unknown := sorted({name for name in stated if name and name.lower() not in split.NAMES}):
        raise PipelineError(f"unknown split {unknown[0]!r} in data/: expected one of {', '.join(split.NAMES)}")
    return np.array([split.NAMES.get(name.lower(), "") for name in stated])


def fingerprint(shape: Shape, *columns: list[str]) -> str:
    """Return the hash of examples, as columns of text, at the shape that a network sees them in."""
    digest = hashlib.sha256(repr(shape).encode())
    for column in columns:
        digest.update("\0".join(column).encode() + b"\0\0")
    return digest.hexdigest()


def check(schema: Schema, data: Path) -> None:
    """Raise PipelineError for data that cannot be learned from or judged, with what would repair it."""
    if len(schema.labels) < 2:
        raise PipelineError(f"{data}/ has the single class {schema.labels[0]!r}: a classifier needs at least two")
    if schema.pixel_range[0] == schema.pixel_range[1]:
        raise PipelineError(f"every pixel of {data}/ has the value {schema.pixel_range[0]}: the images are blank")
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
