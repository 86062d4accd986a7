"""How an image is stored: its pixels and nothing else, in the same bytes on every machine."""

from __future__ import annotations

import io

from PIL import Image, JpegImagePlugin

from model.inputs import decode


def strip(data: bytes) -> bytes:
    """Return an image without EXIF, GPS position, colour profile or comment, turned upright.

    A PNG keeps its pixels. A JPEG without metadata stays as it is; another is encoded again with its own
    quantization tables and chroma sampling. Raises InputError.
    """
    image = decode(data)
    with Image.open(io.BytesIO(data)) as original:
        if not isinstance(original, JpegImagePlugin.JpegImageFile):
            return encode(image)
        if _is_bare(original, data):
            return data
        image.info.clear()
        buffer = io.BytesIO()
        sampling = JpegImagePlugin.get_sampling(original)
        image.save(buffer, "JPEG", qtables=original.quantization, subsampling=max(sampling, 0))
        return buffer.getvalue()


def _is_bare(image: JpegImagePlugin.JpegImageFile, data: bytes) -> bool:
    """Tell whether a JPEG has no segment but JFIF's header without thumbnail and Adobe's, and ends where it ends."""
    plain = all((name == "APP0" and len(body) == 14) or name == "APP14" for name, body in image.applist)
    return plain and data.find(b"\xff\xd9") == len(data) - 2


def encode(image: Image.Image) -> bytes:
    """Return a PNG of the pixels alone.

    It is stored, not deflated: deflate's output differs between processors, and Parquet compresses better.
    """
    image.info.clear()
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
