"""What a protocol is handed and what it hands back, whichever way the bytes travel."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

import msgspec

from serving.errors import Refused

JSON = b"application/json"
COMPRESS_FROM = 1024
"""Smallest answer that is worth compressing, in bytes."""

if TYPE_CHECKING:
    from model.predictor import Probabilities
    from serving.protocols import Route

encode = msgspec.json.Encoder().encode


class Request(NamedTuple):
    """A whole HTTP request: the body is read and decompressed. Header names are in lower case."""

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    id: bytes

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, in lower case; empty when there is none."""
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")

    def number(self, name: str, default: int) -> int:
        """Return a whole number of the query. Raises Refused when it is none."""
        given = parse_qs(self.query.decode("latin-1")).get(name)
        if not given:
            return default
        if not given[-1].isascii() or not given[-1].isdecimal() or len(given[-1]) > 9:
            raise Refused(400, f"{name}={given[-1][:40]}: expected a whole number")
        return int(given[-1])


class Answer(NamedTuple):
    """A whole HTTP answer, and the release that gave it."""

    body: bytes
    release: str = ""
    status: int = 200
    media_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    probabilities: Probabilities | None = None
    """What the model said, for the log."""


class Admission(NamedTuple):
    """What a request asks for, known when its headers are: a route, the version in its path, and who sent it."""

    route: Route
    version: str
    client: str


def as_json(
    content: object, release: str = "", status: int = 200, probabilities: Probabilities | None = None
) -> Answer:
    return Answer(encode(content), release, status, probabilities=probabilities)


def error_body(refused: Refused) -> bytes:
    """Return an error in the form that the Open Inference Protocol and TensorFlow Serving share."""
    return encode({"error": refused.message})


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Undo a Content-Encoding. Raises Refused for an unknown or damaged one and for more than `limit` bytes."""
    if encoding == b"identity":
        return body
    if encoding not in {b"gzip", b"deflate"}:
        raise Refused(415, f"Content-Encoding {encoding.decode('latin-1')[:40]}: send gzip, deflate or none")
    # 32 more than the window's bits: zlib tells gzip from its own format, which HTTP calls deflate.
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        content = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refused(400, f"the body is not {encoding.decode()}: {error}") from None
    if len(content) > limit:
        raise Refused(413, f"the body unpacks to more than {limit} bytes")
    if not reader.eof:
        raise Refused(400, f"the {encoding.decode()} body ends too early")
    if reader.unused_data:
        raise Refused(400, f"something follows the {encoding.decode()} body")
    return content


def compress(answer: Answer, accepted: bytes) -> Answer:
    """Return the answer in gzip when the client takes that and it is worth it."""
    if len(answer.body) < COMPRESS_FROM:
        return answer
    for choice in accepted.lower().split(b","):
        name, _, quality = choice.partition(b";")
        if name.strip() == b"gzip" and quality.replace(b" ", b"") not in {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}:
            added = ((b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"))
            return answer._replace(body=gzip.compress(answer.body, 1, mtime=0), headers=answer.headers + added)
    return answer
