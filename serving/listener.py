"""The HTTP side of a worker: takes connections, and lets them go without losing a request."""

from __future__ import annotations

import asyncio
import ctypes
import ssl
import struct
import sys
import time
from email.utils import formatdate
from socket import SOL_SOCKET, socket

from serving.app import App
from serving.http import Connection

LAST_ACCEPTS = 0.05
"""Seconds for connections that the kernel has made already."""
SO_ATTACH_FILTER = 26  # socket(7); Python has no name for it
BPF_RETURN = 0x06  # linux/bpf_common.h: BPF_RET | BPF_K; of 0 bytes, which drops the packet


class Shared:
    """What the connections of a worker share."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.settings = app.settings
        self.connections: set[Connection] = set()
        self.draining = False
        self.buffered = 0
        self.tick()

    def tick(self) -> None:
        """Now and then: the date for answers, and an end to clients that are too slow."""
        lines = [
            "date: " + formatdate(time.time(), usegmt=True),
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ]
        if self.settings.tls_certificate:
            lines.append("strict-transport-security: max-age=31536000")
        self.head = "".join(f"{line}\r\n" for line in lines).encode()
        now = asyncio.get_running_loop().time()
        for connection in list(self.connections):
            connection.expire(now)


class Listener:
    """Accepts on a socket that other workers share."""

    def __init__(self, app: App) -> None:
        self.shared = Shared(app)
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        patience = self.shared.settings.read_timeout if tls else None
        self._server = await loop.create_server(
            lambda: Connection(self.shared),
            sock=listening,
            ssl=tls,
            ssl_handshake_timeout=patience,
            ssl_shutdown_timeout=patience,
        )

    def drain(self) -> None:
        """Ask clients to reconnect elsewhere: each answer from now on closes its connection."""
        self.shared.draining = True

    async def stop(self) -> None:
        """Take no new connection, answer what has been received, close."""
        self.drain()
        if self._server:
            for listening in self._server.sockets:
                _drop_new(listening)
            await asyncio.sleep(LAST_ACCEPTS)
            self._server.close()
        while self.shared.connections:
            for connection in list(self.shared.connections):
                connection.stop()
            await asyncio.sleep(0.01)

    def abort(self) -> None:
        """End what a stop has waited for long enough."""
        for connection in list(self.shared.connections):
            connection.abort()


def _drop_new(listening: socket) -> None:
    """Let the kernel drop packets that ask for a connection: it would reset those that wait when the socket closes.

    Their clients try again a second later, and then hear that nobody listens. Elsewhere than on Linux they are reset.
    """
    if sys.platform != "linux":
        return
    drop = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RETURN, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(drop))
    listening.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, program)
