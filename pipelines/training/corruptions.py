"""Named corruptions of test images, after ImageNet-C (Hendrycks and Dietterich 2019), each at a stated severity."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from model.inputs import Pixels

Corruption = Callable[[Pixels, float], Pixels]


def _to_pixels(values: np.ndarray) -> Pixels:
    pixels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def noise(images: Pixels, deviation: float) -> Pixels:
    """Add Gaussian noise; deviation in grey levels. The same image gets the same noise, whatever is beside it."""
    drawn = [np.random.default_rng(zlib.crc32(image.tobytes())).normal(0, deviation, image.shape) for image in images]
    return _to_pixels(images + np.stack(drawn))


def blur(images: Pixels, sigma: float) -> Pixels:
    """Blur with a Gaussian of sigma pixels."""
    return _to_pixels(ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0)))


def brightness(images: Pixels, levels: float) -> Pixels:
    """Add grey levels."""
    return _to_pixels(images.astype(np.float32) + levels)


def contrast(images: Pixels, share: float) -> Pixels:
    """Move every pixel towards its image's mean by a share of the distance."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return _to_pixels(mean + (images - mean) * (1 - share))


def shift(images: Pixels, pixels: float) -> Pixels:
    """Move right and down by a number of pixels, repeating the edge."""
    return _to_pixels(ndimage.shift(images.astype(np.float32), (0, pixels, pixels, 0), order=1, mode="nearest"))


def rotation(images: Pixels, degrees: float) -> Pixels:
    """Turn counter-clockwise about the centre, repeating the edge."""
    turned = ndimage.rotate(images.astype(np.float32), degrees, axes=(2, 1), reshape=False, order=1, mode="nearest")
    return _to_pixels(turned)


def occlusion(images: Pixels, share: float) -> Pixels:
    """Cover the centre, a share of each side, with the image's mean."""
    height, width = images.shape[1:3]
    rows, columns = (slice(round(side * (1 - share) / 2), round(side * (1 + share) / 2)) for side in (height, width))
    hidden = images.copy()
    hidden[:, rows, columns] = _to_pixels(images.mean(axis=(1, 2), keepdims=True))
    return hidden


CORRUPTIONS: dict[str, Corruption] = {
    corruption.__name__: corruption for corruption in (noise, blur, brightness, contrast, shift, rotation)
}
