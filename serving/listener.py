"""The HTTP side of a worker: takes connections, and lets them go without losing a request."""

from __future__ import annotations

import asyncio
import ssl
import time
from email.utils import formatdate
from socket import socket

from serving.app import App
from serving.http import Connection
from serving.sockets import drop_new

LAST_ACCEPTS = 0.05
"""Seconds for connections that the kernel has made already."""


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
                drop_new(listening)
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
