"""The one input path: an encoded image or an array becomes uint8 pixels, in training and in production alike.

An image is accepted when its pixels have exactly one meaning as 8-bit grey or RGB. Palettes, one-bit images and
opaque alpha channels convert without loss; 16-bit, CMYK and transparent images are refused, because every way of
squeezing them into eight bits is a guess that the sender did not ask for.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from model import ModelError

Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]

MAX_PIXELS = 64_000_000
"""Largest image that is decoded, in pixels: beyond any camera in common use, below a decompression bomb."""

# Every size is checked here, and refused rather than warned of.
Image.MAX_IMAGE_PIXELS = None

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_BIT_DEPTH = 24  # offset of IHDR's bit depth (PNG specification, third edition, section 11.2.1)
_ORIENTATION = {"exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow looks for it
_MODES = {1: "L", 3: "RGB"}


class InputError(ModelError):
    """The input cannot become pixels; the message says why and what would be right."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a PNG or JPEG as an upright image of mode L or RGB.

    Raises InputError for anything else, and before decoding for too many pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            _refuse_ambiguous(image, data, max_pixels)
            image.load()
            if image.format != "PNG" or _ORIENTATION & image.info.keys():
                ImageOps.exif_transpose(image, in_place=True)
            return _to_grey_or_rgb(image)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError("not a PNG or JPEG image") from None
    except Exception as error:  # given hostile bytes, decoders raise anything
        raise InputError(f"damaged image: {error}") from error


def _refuse_ambiguous(image: Image.Image, data: bytes, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise InputError(f"{width}x{height} pixels are more than {max_pixels:,}: scale the image down")
    # Pillow reads 16-bit RGB as RGB without a word, so the mode alone does not tell.
    if data.startswith(_PNG_SIGNATURE) and data[_PNG_BIT_DEPTH] > 8:
        raise InputError("16 bits a channel: convert the image to 8 bits first")
    if image.mode in {"CMYK", "YCCK"}:
        raise InputError("CMYK colours: convert the image to RGB first")


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in {"LA", "RGBA"}:
        if image.getchannel("A").getextrema() != (255, 255):
            raise InputError("transparent pixels: flatten the image onto a background first")
        return image.convert(image.mode[:-1])
    return image if image.mode in {"L", "RGB"} else image.convert("L" if image.mode == "1" else "RGB")


def to_pixels(image: Image.Image, shape: Shape) -> Pixels:
    """Resize (antialiased, without keeping the aspect ratio) and convert to uint8 [height, width, channels]."""
    height, width, channels = shape
    if image.mode != _MODES[channels]:
        image = image.convert(_MODES[channels])
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(shape)


def to_batch(images: Sequence[bytes] | NDArray[np.generic], shape: Shape, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Return a uint8 batch [n, height, width, channels] from encoded images or from an array of pixels.

    An array has the shape [n, height, width, channels], or without channels when there is one. Raises InputError
    naming the position of the image, or the shape that was expected.
    """
    if isinstance(images, np.ndarray):
        return _check_array(images, shape)
    batch = np.empty((len(images), *shape), np.uint8)
    for position, data in enumerate(images):
        try:
            batch[position] = to_pixels(decode(data, max_pixels), shape)
        except InputError as error:
            raise InputError(f"image {position}: {error}") from error
    return batch


def _check_array(array: NDArray[np.generic], shape: Shape) -> Pixels:
    expected = f"expected uint8 [n, {', '.join(map(str, shape))}]"
    if array.dtype != np.uint8:
        raise InputError(f"{expected}, got {array.dtype}: send pixels from 0 to 255")
    if array.shape[1:] != shape and (*array.shape[1:], 1) != shape:
        raise InputError(f"{expected}, got {list(array.shape)}")
    return array.reshape(-1, *shape).view(np.uint8)
