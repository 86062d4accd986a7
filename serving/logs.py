"""JSON lines on standard output, with the names of the Elastic Common Schema."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime

import msgspec


def event(action: str, level: str = "info", /, **fields: object) -> None:
    """Write one line about the server itself."""
    line = {
        "@timestamp": timestamp(time.time()),
        "log.level": level,
        "event.action": action,
        "process.pid": os.getpid(),
    }
    write(msgspec.json.encode(line | fields) + b"\n")


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(lines: bytes) -> None:
    """In one call, so that lines of several processes do not mix."""
    with suppress(OSError):  # whoever read them has gone, and requests matter more
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
