"""A stream whose last bytes come only when all of them are right."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.command import PipelineError
from pipelines.recovery.copying import Verified
from pipelines.recovery.snapshots import Entry


def read(content: bytes, entry: Entry, size: int) -> bytes:
    stream, found = Verified(io.BytesIO(content), entry, "the source"), b""
    while data := stream.read(size):
        found += data
    return found


def entry(content: bytes, algorithm: str) -> Entry:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    return Entry("file", f"{algorithm}:{digest}", len(content))


@given(st.binary(max_size=100), st.sampled_from(["md5", "sha256"]), st.integers(1, 120))
def test_what_is_right_comes_through(content: bytes, algorithm: str, size: int) -> None:
    """In pieces of any size."""
    assert read(content, entry(content, algorithm), size) == content


@given(st.binary(min_size=1, max_size=100), st.integers(0), st.integers(0, 7), st.integers(1, 120))
def test_a_flipped_bit_is_named(content: bytes, place: int, bit: int, size: int) -> None:
    """Whichever it is, before the last piece was handed out."""
    wrong = bytearray(content)
    wrong[place % len(content)] ^= 1 << bit
    with pytest.raises(PipelineError, match="the source is not what it was: its md5 is"):
        read(bytes(wrong), entry(content, "md5"), size)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"x", lambda _: b""])
def test_another_length_is_noticed(change: object) -> None:
    """A cut or grown file is refused."""
    with pytest.raises(PipelineError, match="is not what it was"):
        read(change(b"content"), entry(b"content", "sha256"), 3)  # type: ignore[operator]
