"""JSON numbers to pixels, strictly: whole numbers from 0 to 255 in an array of the right shape, or a clear refusal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import msgspec
import numpy as np

from model.inputs import InputError, Pixels, Shape, to_batch
from serving.errors import Refused

_Values = Annotated[list[int], msgspec.Meta(min_length=1)]
_Columns = Annotated[list[_Values], msgspec.Meta(min_length=1)]
# Nothing is empty: a body of empty lists would grow a hundredfold in memory.
Row = Annotated[list[_Columns], msgspec.Meta(min_length=1)]  # [height, width, channels]
Grey = _Columns  # [height, width]

MOST_DIMENSIONS = 8
INPUT = "images"
"""The name of the input tensor, uint8 [n, height, width, channels]."""
OUTPUT = "probabilities"
"""The name of the output tensor, float32 [n, classes]."""


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:  # noqa: ANN401 (a type, as msgspec has it)
    return msgspec.json.Decoder(kind)


def decode(body: bytes, *kinds: Any) -> Any:  # noqa: ANN401 (types and one of them, as msgspec has it)
    """Return a JSON body as the first of the types that it fits. Raises Refused with what the first one misses."""
    reason: Exception | None = None
    for kind in kinds:
        try:
            return _decoder(kind).decode(body)
        except msgspec.ValidationError as error:
            reason = reason or error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(400, f"the body is not JSON: {error}") from None
        except RecursionError:
            raise Refused(400, "the body is nested too deeply") from None
    raise Refused(400, str(reason)) from None


def from_flat(data: list[int], dimensions: Sequence[int]) -> Pixels:
    """Return values in the given shape. Raises Refused when they are too many, too few or no pixels."""
    try:
        pixels = np.frombuffer(bytearray(data), np.uint8)
    except (ValueError, OverflowError):
        wrong = next(value for value in data if not 0 <= value <= 255)
        raise Refused(400, f"pixel {str(wrong)[:40]}: expected whole numbers from 0 to 255") from None
    return shaped(pixels, dimensions)


def shaped(pixels: Pixels, dimensions: Sequence[int]) -> Pixels:
    """Return pixels in a shape. Raises Refused when they do not fill it exactly."""
    if len(dimensions) > MOST_DIMENSIONS or min(dimensions, default=0) < 0 or max(dimensions, default=0) > pixels.size:
        raise Refused(400, f"shape {str(dimensions[:MOST_DIMENSIONS])[:80]} is not that of {pixels.size} values")
    if math.prod(dimensions) != pixels.size:
        raise Refused(400, f"shape {list(dimensions)} holds {math.prod(dimensions)} values, got {pixels.size}")
    return pixels.reshape(dimensions)


def from_nested(data: Sequence[Any]) -> Pixels:
    """Return nested lists as an array. Raises Refused when they are ragged or hold no pixels."""
    try:
        array = np.array(data)
    except (ValueError, OverflowError):
        raise Refused(400, "the array is ragged, or a number is too large") from None
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255):
        raise Refused(400, "expected whole numbers from 0 to 255")
    return array.astype(np.uint8)


def batch(array: Pixels, shape: Shape, most: int) -> Pixels:
    """Return the array as what the model takes. Raises Refused for another shape, for none and for too many."""
    if array.shape[1:] != shape or array.dtype != np.uint8:
        try:
            array = to_batch(array, shape)
        except InputError as error:
            raise Refused(400, str(error)) from None
    if not 0 < len(array) <= most:
        raise Refused(400, f"{len(array)} images: send from 1 to {most} in a request")
    return array
