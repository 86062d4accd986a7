"""JSON lines on standard output, with the names of the Elastic Common Schema."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from select import PIPE_BUF

import msgspec

DATASET = "slipway.server"
NAMES = (
    "@timestamp",
    "log.level",
    "event.dataset",
    "event.action",
    "process.pid",
    "process.child.pid",
    "process.exit_code",
    "error.type",
    "error.message",
    "error.stack_trace",
    "http.request.id",
    "http.port",
    "grpc.port",
    "metrics.port",
    "labels.release",
    "seconds",
)
"""What lines about the server itself may say."""
STANDARD_OUTPUT = 1


def event(action: str, level: str = "info", /, **fields: object) -> None:
    """Write one line about the server itself."""
    line = {
        "@timestamp": timestamp(time.time()),
        "log.level": level,
        "event.dataset": DATASET,
        "event.action": action,
        "process.pid": os.getpid(),
    }
    write(msgspec.json.encode(line | fields) + b"\n")


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(lines: bytes) -> None:
    """Write whole lines in pieces that the system does not mix with those of other processes (write(2), PIPE_BUF)."""
    start = 0
    with suppress(OSError):  # whoever read them has gone, and requests matter more
        while start < len(lines):
            end = lines.rfind(b"\n", start, start + PIPE_BUF) + 1 or lines.find(b"\n", start) + 1
            os.write(STANDARD_OUTPUT, lines[start:end])
            start = end
