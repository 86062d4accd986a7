"""Statistics of the training inputs that production is later compared with."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.inputs import Pixels

BINS = 32


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Counts in BINS equal bins from 0 to 256 (contrast: to 128, the largest standard deviation of such values)."""

    examples: int
    labels: dict[str, int]
    brightness: list[int]
    """Images by mean pixel."""
    contrast: list[int]
    """Images by standard deviation of pixels."""
    pixels: list[list[int]]
    """Pixels by value, a list a channel."""


def compute(batches: Iterable[Pixels], labels: dict[str, int]) -> Reference:
    """Return the statistics of batches of images [b, height, width, channels], at least one."""
    brightness = np.zeros(BINS, np.int64)
    contrast = np.zeros(BINS, np.int64)
    pixels: NDArray[np.int64] = np.zeros(0, np.int64)
    for images in batches:
        flat = images.reshape(len(images), -1).astype(np.float32)
        brightness += np.histogram(flat.mean(axis=1), BINS, (0, 256))[0]
        contrast += np.histogram(flat.std(axis=1), BINS, (0, 128))[0]
        channels = np.moveaxis(images, -1, 0)
        counts = np.stack([np.bincount(values.ravel(), minlength=256) for values in channels])  # [channels, 256]
        pixels = pixels + counts if pixels.size else counts
    return Reference(
        examples=int(brightness.sum()),
        labels=labels,
        brightness=brightness.tolist(),
        contrast=contrast.tolist(),
        pixels=pixels.reshape(len(pixels), BINS, -1).sum(axis=2).tolist(),
    )
