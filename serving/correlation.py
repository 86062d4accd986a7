"""What ties a request to the records of others: an id (x-request-id) and a trace (W3C Trace Context, traceparent).

Both are a client's to choose and end up in logs, so what does not look like one is not taken.
"""

from __future__ import annotations

import itertools
import re
import secrets
from contextvars import ContextVar
from typing import NamedTuple

import msgspec

from model.inputs import Pixels
from serving.credentials import PREFIX

# UUIDs, ULIDs and the like; but no address, no token (RFC 7519 has dots, and length) and no key of ours.
_ID = re.compile(rb"(?!%b)[A-Za-z0-9_-]{1,64}" % PREFIX.encode())
_TRACEPARENT = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
SAMPLED = 1
"""The flag by which a caller says that it records the trace."""
# Unique without asking the kernel each time: random for the process, counted within it.
_process = secrets.token_hex(8).encode()
_numbers = itertools.count(1)


class Parent(NamedTuple):
    """The span that a request belongs to: hexadecimal ids, and whether the caller records the trace."""

    trace: str
    span: str
    sampled: bool


class Trail(msgspec.Struct):
    """What a span is made of later: whom it belongs to, and since when its request queued, was inferred, was done.

    Of a request with one picture that is to be kept, also that: [1, height, width, channels].
    """

    parent: Parent | None
    sampled: bool = False
    images: Pixels | None = None
    queued: float = 0
    began: float = 0
    ended: float = 0


CHOSEN: ContextVar[str] = ContextVar("CHOSEN", default="")
"""The release that the running request has been given to, so that a failure is counted for it."""
TRAIL: ContextVar[Trail | None] = ContextVar("TRAIL", default=None)
"""That of the request which the running task answers; none unless spans or samples are wanted."""


def request_id(given: bytes | None) -> bytes:
    """Return a client's id of a request, or a new one when it has none that can be taken."""
    if given and _ID.fullmatch(given):
        return given
    return b"%b%08x" % (_process, next(_numbers))


def parent(traceparent: bytes | None) -> Parent | None:
    """Return what a traceparent header says, and nothing when it is not valid."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if not found or (found["version"] == b"00" and found["more"]):
        return None
    return Parent(found["trace"].decode(), found["span"].decode(), bool(int(found["flags"], 16) & SAMPLED))
