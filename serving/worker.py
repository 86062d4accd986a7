"""One worker process: an event loop with HTTP, gRPC, inference, and a line to its supervisor."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import uvloop

from serving import config, deployment, metrics, tls
from serving.app import App
from serving.config import Settings
from serving.deployment import Deployment, Loaded
from serving.errors import ServingError
from serving.listener import Listener
from serving.logs import event
from serving.messages import Abort, Channel, Commit, Counted, Prepare, Prepared, Ready, Swap, Swapped, ToWorker
from serving.target import Target
from serving.telemetry import Telemetry

FLUSH = 0.5
"""Seconds between two times that telemetry goes to the supervisor."""


class Worker:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings, target: Target, channel: Channel[ToWorker]) -> None:
        """Load the target. Raises ServingError."""
        self._settings = settings
        self._channel = channel
        self._telemetry = Telemetry(access_log=settings.access_log, counting=settings.metrics)
        self._pool = ThreadPoolExecutor(settings.threads, "inference") if settings.threads else None
        first = self._deploy(target, deployment.load(target, settings, settings.release))
        self.app = App(settings, first, self._telemetry, self._swap)
        self.listener = Listener(self.app)
        self._prepared: tuple[Target, Loaded] | None = None
        self._swaps: list[asyncio.Future[Swapped]] = []
        self._stopping = asyncio.Event()

    async def run(self, listening: socket.socket, grpc_port: int) -> None:
        """Serve until a SIGTERM, or until the supervisor is gone; then drain."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        await self.listener.start(listening, tls.context(self._settings))
        rpc = None
        if self._settings.grpc:
            from serving.protocols import rpc as grpc_protocol  # noqa: PLC0415 (a tenth of a second and 10 MB)

            rpc = grpc_protocol.start(self.app, self._settings, grpc_port)
        gc.collect()
        gc.freeze()  # what is loaded by now stays, so collections need not look at it
        self.app.ready = True
        self._channel.send(Ready(self.app.deployment.stable.release.name))
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tick())]
        await self._stopping.wait()
        await self._drain()
        rpc_stopped = rpc.stop(self._settings.shutdown) if rpc else None
        await self.listener.stop()
        if rpc_stopped:
            await asyncio.to_thread(rpc_stopped.wait)
        for task in tasks:
            task.cancel()
        self._flush()
        await self._channel.close()

    async def _drain(self) -> None:
        """Readiness first, so that a load balancer looks elsewhere while everything is still answered."""
        self.app.ready = False
        self.listener.drain()
        event("draining", seconds=self._settings.drain)
        await asyncio.sleep(self._settings.drain)

    async def _follow(self) -> None:
        async for message in self._channel.messages():
            match message:
                case Prepare(target):
                    await self._prepare(target)
                case Commit() if self._prepared:
                    self.app.deployment = self._deploy(*self._prepared)
                    self._prepared = None
                case Abort():
                    self._prepared = None
                case Swapped() if self._swaps:
                    waiting = self._swaps.pop(0)
                    if not waiting.done():  # whoever asked may have gone
                        waiting.set_result(message)
        self._stopping.set()

    async def _prepare(self, target: Target) -> None:
        try:
            loaded = await asyncio.to_thread(deployment.load, target, self._settings)
        except ServingError as error:
            self._telemetry.tally.add(metrics.LOADS, "", "refused")
            self._channel.send(Prepared(error=str(error)))
        else:
            self._prepared = (target, loaded)
            self._channel.send(Prepared(loaded[0].name))

    def _deploy(self, target: Target, loaded: Loaded) -> Deployment:
        found = Deployment(target, loaded, self._settings, self._telemetry, self._pool)
        for release in loaded:
            if release:
                self._telemetry.tally.add(metrics.LOADS, release.name, "loaded")
        return found

    async def _swap(self, release: str) -> str:
        """Ask the supervisor for a swap in all workers. Raises ServingError."""
        if self._stopping.is_set():
            raise ServingError("the server is shutting down")
        answer: asyncio.Future[Swapped] = asyncio.get_running_loop().create_future()
        self._swaps.append(answer)
        self._channel.send(Swap(release))
        swapped = await answer
        if swapped.error:
            raise ServingError(swapped.error)
        return swapped.release

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            self.listener.shared.tick()
            self.app.deployment.expire()
            if self.app.authenticator:
                try:
                    self.app.authenticator.refresh()
                except ServingError as error:
                    event("credentials-not-read", "error", **{"error.message": str(error)})
            self._flush()

    def _flush(self) -> None:
        tally = self._telemetry.tally
        tally.set(metrics.IN_FLIGHT, value=self.app.in_flight.count)
        tally.set(metrics.CONNECTIONS, value=len(self.listener.shared.connections))
        self.app.deployment.describe()
        self._telemetry.flush()
        self._channel.send(Counted(tally.take()))


async def _main(control: socket.socket, listening: socket.socket, grpc_port: int, target: Target) -> None:
    channel: Channel[ToWorker] = await Channel.open(control, ToWorker)
    await Worker(config.load(os.environ), target, channel).run(listening, grpc_port)


def main() -> None:
    """Run as python -m serving.worker CONTROL LISTENING GRPC_PORT TARGET: two inherited sockets, a port, JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor too, which decides
    control, listening, grpc_port = (int(number) for number in sys.argv[1:4])
    target = msgspec.json.decode(sys.argv[4], type=Target)
    try:
        uvloop.run(_main(socket.socket(fileno=control), socket.socket(fileno=listening), grpc_port, target))
    except (ServingError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
