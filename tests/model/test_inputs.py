"""model.inputs: encoded images and arrays become uint8 pixels, or a clear error."""

from __future__ import annotations

import contextlib
import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from model.inputs import InputError, decode, to_batch, to_pixels
from tests.conftest import encode, picture

GREY, COLOUR = (28, 28, 1), (10, 12, 3)


def test_png_keeps_every_pixel() -> None:
    """A PNG of the right size and colours passes through unchanged."""
    image = picture()
    assert np.array_equal(to_batch([encode(image)], COLOUR)[0], np.asarray(image))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_unambiguous_modes_convert_without_loss(mode: str) -> None:
    """Every mode that has one 8-bit meaning gives the pixels that its RGB conversion has."""
    image = picture().convert("L" if mode in {"LA", "1"} else "RGB").convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(np.asarray(decode(encode(image)).convert("RGB")), expected)


def _sixteen_bit_rgb() -> bytes:
    # Pillow writes no 16-bit RGB: the header of an 8-bit file says so here, and is refused before the pixels are read.
    data = bytearray(encode(picture()))
    data[24] = 16
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a PNG or JPEG"),
        (b"just text\n", "not a PNG or JPEG"),
        (encode(picture(), "GIF"), "not a PNG or JPEG"),
        (encode(picture())[:-30], "damaged image"),
        (encode(picture(), "JPEG")[:300], "damaged image"),
        (encode(Image.fromarray(np.zeros((4, 4), np.uint16))), "16 bits a channel"),
        (_sixteen_bit_rgb(), "16 bits a channel"),
        (encode(picture().convert("CMYK"), "JPEG"), "CMYK"),
        (encode(Image.new("RGBA", (4, 4), (1, 2, 3, 200))), "transparent"),
        (encode(Image.new("RGB", (4, 4)), transparency=(0, 0, 0)), "transparent"),
    ],
)
def test_anything_else_is_refused_with_its_reason(data: bytes, message: str) -> None:
    """What has no single 8-bit meaning, or is no image at all, is refused by name."""
    with pytest.raises(InputError, match=message):
        decode(data)


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
    """The pixel count in the header decides, before any pixel is unpacked."""
    with pytest.raises(InputError, match="12x10 pixels are more than 99"):
        decode(encode(picture()), max_pixels=99)
    with pytest.raises(InputError, match="12x10 pixels are more than 99"):
        to_batch([encode(picture())], (4, 4, 1), max_pixels=99)


def test_a_photo_is_turned_upright() -> None:
    """The orientation that a camera wrote is applied, as every viewer does."""
    image = picture(size=(20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    upright = decode(encode(image, "JPEG", exif=exif))
    assert upright.size == (10, 20)
    assert upright.getexif().get(0x0112) in {None, 1}


def test_a_png_is_turned_upright_too() -> None:
    """An orientation may be in a PNG's EXIF chunk or in its XMP packet."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/></x:xmpmeta>'
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    assert decode(encode(picture(size=(20, 10)), pnginfo=text)).size == (10, 20)


def test_resizing_and_grey() -> None:
    """Any size and colour ends in the asked shape, with the mean kept."""
    pixels = to_pixels(picture(size=(300, 200)), GREY)
    assert pixels.shape == GREY
    assert pixels.dtype == np.uint8
    assert abs(float(pixels.mean()) - 127) < 5


def test_arrays_pass_unchanged_or_are_refused() -> None:
    """An array needs the exact type and shape; the channel axis may be left out when there is one channel."""
    array = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    assert to_batch(array, GREY).shape == (2, *GREY)
    assert np.array_equal(to_batch(array[..., None], GREY)[..., 0], array)
    with pytest.raises(InputError, match="got float64"):
        to_batch(array / 255, GREY)
    with pytest.raises(InputError, match=r"expected uint8 \[n, 10, 12, 3\], got \[2, 28, 28\]"):
        to_batch(array, COLOUR)


def test_the_bad_image_of_a_batch_is_named() -> None:
    """An error in a batch says at which position."""
    with pytest.raises(InputError, match="image 1: not a PNG"):
        to_batch([encode(picture()), b"?"], COLOUR)


def test_a_malformed_exif_raises_nothing_else() -> None:
    """Whatever goes wrong inside of a picture's metadata, nothing but InputError is raised."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(picture(), "JPEG", exif=exif)
    for place in range(data.index(b"Exif"), data.index(b"Exif") + 40):
        for byte in (0x00, 0x05, 0x0C, 0xFF):
            spoilt = bytearray(data)
            spoilt[place] = byte
            with contextlib.suppress(InputError):
                decode(bytes(spoilt))


@given(data=st.binary(max_size=200), cut=st.integers(0, 500), place=st.integers(0, 500), byte=st.integers(0, 255))
def test_no_bytes_raise_anything_else(data: bytes, cut: int, place: int, byte: int) -> None:
    """Random, truncated and flipped bytes either decode or raise InputError."""
    spoilt = bytearray(encode(picture(), "JPEG"))
    spoilt[place % len(spoilt)] = byte
    for candidate in (data, bytes(spoilt[:cut]), bytes(spoilt), b"\x89PNG\r\n\x1a\n" + data):
        try:
            image = decode(candidate)
        except InputError:
            continue
        assert image.mode in {"L", "RGB"}


def test_a_whole_batch_is_one_contiguous_array() -> None:
    """Interpreters copy a contiguous batch at once."""
    batch = to_batch([encode(picture(seed)) for seed in range(3)], COLOUR)
    assert batch.flags.c_contiguous
    assert batch.shape == (3, *COLOUR)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode(picture(2))))), batch[2])
