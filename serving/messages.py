"""What the supervisor and a worker tell each other: JSON lines over a pair of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import msgspec

from serving.metrics import Sample
from serving.target import Target

LONGEST_LINE = 64 * 2**20
"""Bytes; samples of a model with thousands of classes are the longest message."""


class Prepare(msgspec.Struct, tag=True):
    """To a worker: load this beside what is served."""

    number: int
    target: Target


class Commit(msgspec.Struct, tag=True):
    """To a worker: serve what was prepared."""


class Abort(msgspec.Struct, tag=True):
    """To a worker: forget what was prepared."""


class Swapped(msgspec.Struct, tag=True):
    """To a worker: what became of the swap that it asked for."""

    number: int
    release: str = ""
    error: str = ""


class Ready(msgspec.Struct, tag=True):
    """From a worker: it serves."""

    release: str


class Prepared(msgspec.Struct, tag=True):
    """From a worker: it could serve this release, or why not."""

    number: int
    release: str = ""
    error: str = ""


class Swap(msgspec.Struct, tag=True):
    """From a worker: an operator asks all workers for a release, by its name or again as the settings say."""

    number: int
    release: str


class Counted(msgspec.Struct, tag=True):
    """From a worker: what happened since the last time."""

    samples: list[Sample]


ToWorker = Prepare | Commit | Abort | Swapped
FromWorker = Ready | Prepared | Swap | Counted
Incoming = TypeVar("Incoming")


class Channel(Generic[Incoming]):
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, incoming: object) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder: msgspec.json.Decoder[Incoming] = msgspec.json.Decoder(incoming)

    @classmethod
    async def open(cls, end: socket.socket, incoming: object) -> Channel[Incoming]:
        reader, writer = await asyncio.open_connection(sock=end, limit=LONGEST_LINE)
        return cls(reader, writer, incoming)

    def send(self, message: ToWorker | FromWorker) -> None:
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def messages(self) -> AsyncIterator[Incoming]:
        """Give each message, until the other side has ended."""
        try:
            async for line in self._reader:
                yield self._decoder.decode(line)
        except ConnectionError:
            return

    async def close(self) -> None:
        """Wait until everything has been sent, or cannot be any more."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
