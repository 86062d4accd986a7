"""What drift is told by: a few numbers of each image and answer, counted in bins that held-out examples fill evenly.

Bins at the reference's quantiles are the usual ones of the population stability index (PSI), and fit any data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from model import ModelError

if TYPE_CHECKING:  # who compares counts needs neither Pillow nor LiteRT
    from model.inputs import Pixels
    from model.predictor import Probabilities

NAME = "reference.json"
ANSWER = "answer"
"""The feature whose bins are the labels."""
BINS = 10
SIDE = 32
"""Rows and columns of an image that are looked at, about: the cost does not grow with the image."""

Values = NDArray[np.float32]


class StatisticsError(ModelError):
    """The file holds no reference, or one that contradicts itself."""


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    edges: list[float]
    """Where one bin ends and the next begins, ascending; a value on an edge is in the higher bin."""
    counts: list[int]
    """Examples in each bin: one more than there are edges."""


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How examples that the model has not learned from look, and what the model answers to them."""

    features: dict[str, Feature]
    answers: dict[str, int]
    """Examples by the label that they were given by the model."""


def of_images(images: Pixels) -> dict[str, Values]:
    """Return of each of n images [n, height, width, channels] what is known without a model, as [n] each.

    Mean and standard deviation of its pixels, how much neighbours differ, the share of that from left to right, and of
    a coloured image how much its first channel is above its last.
    """
    step = max(1, min(images.shape[1:3]) // SIDE)
    grid = images[:, ::step, ::step].astype(np.float32)
    across, down = (np.abs(np.diff(grid, axis=axis)).sum(axis=(1, 2, 3)) for axis in (2, 1))
    both = across + down
    found = {
        "brightness": grid.mean(axis=(1, 2, 3)),
        "contrast": grid.std(axis=(1, 2, 3)),
        "detail": both / grid[0].size,
        "direction": np.divide(across, both, out=np.full_like(both, 0.5), where=both > 0),
    }
    if grid.shape[3] > 1:
        found["tint"] = (grid[..., 0] - grid[..., -1]).mean(axis=(1, 2))
    return found


def of_answers(answers: Probabilities) -> dict[str, Values]:
    """Return of each of n answers [n, classes] the probability of what it says, as [n]."""
    return {"confidence": answers.max(axis=1)}


def count(values: Values, edges: Sequence[float]) -> NDArray[np.int64]:
    """Return how many values [n] lie in each bin, as [edges + 1]."""
    return np.bincount(np.searchsorted(np.asarray(edges, np.float32), values, "right"), minlength=len(edges) + 1)


def refer(batches: Iterable[Pixels], answers: Probabilities, labels: Sequence[str]) -> Reference:
    """Return the statistics of batches of images and all their answers [n, classes], n at least 1."""
    parts = [of_images(images) for images in batches]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} | of_answers(answers)
    given = np.bincount(answers.argmax(axis=1), minlength=len(labels)).tolist()
    return Reference(
        features={name: _feature(values) for name, values in found.items()},
        answers=dict(zip(labels, given, strict=True)),
    )


def _feature(values: Values) -> Feature:
    quantiles = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="higher")
    edges = np.unique(quantiles[quantiles > values.min()]).tolist()  # no bin is empty where many values are the same
    return Feature(edges, count(values, edges).tolist())


def load(folder: Path) -> Reference | None:
    """Read a folder's reference, if it has one. Raises StatisticsError naming what is wrong with it."""
    path = folder / NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Reference)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StatisticsError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StatisticsError(f"{path}: {error}") from error
    for name, feature in found.features.items():
        if len(feature.counts) != len(feature.edges) + 1 or feature.edges != sorted(set(feature.edges)):
            raise StatisticsError(f"{path}: {name} needs ascending edges and one more count than those")
    return found


def encode(reference: Reference) -> bytes:
    """Return the reference as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(reference)) + b"\n"
