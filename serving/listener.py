"""The HTTP side of a worker: takes connections, and lets them go without losing a request."""

from __future__ import annotations

import asyncio
import ssl
from socket import socket

from serving.app import App
from serving.http import Connection, Shared


class Listener:
    """Accepts on a socket that other workers share."""

    def __init__(self, app: App) -> None:
        self.shared = Shared(app)
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self.shared), sock=listening, ssl=tls)

    def drain(self) -> None:
        """Ask clients to reconnect elsewhere: each answer from now on closes its connection."""
        self.shared.draining = True

    async def stop(self) -> None:
        """Take no new connection, answer what has been received, close."""
        if self._server:
            self._server.close()
        while self.shared.connections:
            for connection in list(self.shared.connections):
                connection.stop()
            await asyncio.sleep(0.01)
