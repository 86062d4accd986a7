"""One worker process: an event loop with HTTP, gRPC, inference, and a line to its supervisor."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import uvloop

from serving import config, deployment, metrics, observation, tls
from serving.app import App
from serving.config import Settings
from serving.deployment import Deployment, Loaded
from serving.errors import ServingError
from serving.listener import Listener
from serving.logs import event
from serving.messages import Abort, Channel, Commit, Counted, Prepare, Prepared, Ready, Swap, Swapped, ToWorker
from serving.target import Target
from serving.telemetry import Telemetry

if TYPE_CHECKING:
    from serving.samples import Samples
    from serving.traces import Traces

FLUSH = 0.5
"""Seconds between two times that telemetry goes to the supervisor."""
ABORT = 0.5
"""Seconds that are left of a shutdown when connections that have not ended are cut."""


class Worker:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings, target: Target, channel: Channel[ToWorker]) -> None:
        """Load the target. Raises ServingError."""
        self._settings = settings
        self._channel = channel
        self._traces = _traces(settings)
        self._samples = _samples(settings)
        self._telemetry = Telemetry(
            access_log=settings.access_log,
            counting=settings.metrics,
            service=settings.model_name,
            traces=self._traces,
            samples=self._samples,
        )
        self._pool = ThreadPoolExecutor(settings.threads, "inference") if settings.threads else None
        first = self._deploy(target, deployment.load(target, settings))
        self.app = App(settings, first, self._telemetry, self._swap)
        self.listener = Listener(self.app)
        self._prepared: tuple[Target, Loaded] | None = None
        self._swaps: dict[int, asyncio.Future[Swapped]] = {}
        self._swap_numbers = itertools.count()
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._certificate_expiry: float | None = None

    def _hurry(self) -> None:
        self._hurried.set()
        self._stopping.set()

    async def run(self, listening: socket.socket, grpc_port: int) -> None:
        """Serve until a SIGTERM, or until the supervisor is gone, and drain; or until a SIGQUIT, which spares that."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGQUIT, self._hurry)
        await self.listener.start(listening, tls.context(self._settings))
        self._certificate_expiry = tls.expiry(self._settings)
        rpc = None
        if self._settings.grpc:
            from serving.protocols import rpc as grpc_protocol  # noqa: PLC0415 (a tenth of a second and 10 MB)

            rpc = await grpc_protocol.start(self.app, self._settings, grpc_port)
        gc.collect()
        gc.freeze()  # what is loaded by now stays, so collections need not look at it
        self.app.ready = True
        self._channel.send(Ready(self.app.deployment.stable.release.name))
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tick())]
        await self._stopping.wait()
        await self._drain()
        rest = self._settings.shutdown - self._settings.drain - ABORT
        stopping = [asyncio.create_task(self.listener.stop())]
        if rpc:
            stopping.append(asyncio.create_task(rpc.stop(rest)))
        _, late = await asyncio.wait(stopping, timeout=rest)
        if late:
            self.listener.abort()
            await asyncio.wait(late, timeout=ABORT)
        for task in tasks:
            task.cancel()
        self._flush()
        await self._channel.close()
        for one in (self._traces, self._samples):
            if one:
                one.close(ABORT)

    async def _drain(self) -> None:
        """Readiness first, so that a load balancer looks elsewhere while everything is still answered."""
        self.app.ready = False
        self.listener.drain()
        event("draining", seconds=self._settings.drain)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), self._settings.drain)

    async def _follow(self) -> None:
        try:
            async for message in self._channel.messages():
                match message:
                    case Prepare():
                        await self._prepare(message)
                    case Commit() if self._prepared:
                        self.app.deployment = self._deploy(*self._prepared)
                        self._prepared = None
                    case Abort():
                        self._prepared = None
                    case Swapped(number):
                        waiting = self._swaps.pop(number)
                        if not waiting.done():  # whoever asked may have gone
                            waiting.set_result(message)
        finally:
            for number, waiting in self._swaps.items():
                if not waiting.done():
                    waiting.set_result(Swapped(number, error="the server is shutting down"))
            self._stopping.set()

    async def _prepare(self, asked: Prepare) -> None:
        try:
            loaded = await asyncio.to_thread(deployment.load, asked.target, self._settings)
        except Exception as error:  # noqa: BLE001 (whatever a release does, the old one goes on serving)
            self._telemetry.tally.add(metrics.LOADS, "", "refused")
            self._channel.send(Prepared(asked.number, error=str(error)[:1000] or type(error).__name__))
        else:
            self._prepared = (asked.target, loaded)
            self._channel.send(Prepared(asked.number, loaded[0].name))

    def _deploy(self, target: Target, loaded: Loaded) -> Deployment:
        found = Deployment(target, loaded, self._settings, self._telemetry, self._pool)
        for release in loaded:
            if release:
                self._telemetry.tally.add(metrics.LOADS, release.name, "loaded")
                observation.begin(self._telemetry.tally, release)
        return found

    async def _swap(self, release: str) -> str:
        """Ask the supervisor for a swap in all workers. Raises ServingError."""
        if self._stopping.is_set():
            raise ServingError("the server is shutting down")
        answer: asyncio.Future[Swapped] = asyncio.get_running_loop().create_future()
        number = next(self._swap_numbers)
        self._swaps[number] = answer
        self._channel.send(Swap(number, release))
        swapped = await answer
        if swapped.error:
            raise ServingError(swapped.error)
        return swapped.release

    async def _tick(self) -> None:
        duties: list[Callable[[], None]] = [self.listener.shared.tick, self._expire, self._flush]
        if self.app.authenticator:
            duties.append(self.app.authenticator.refresh)
        while True:
            await asyncio.sleep(FLUSH)
            for duty in duties:
                try:
                    duty()
                except Exception as error:  # noqa: BLE001 (one must not keep the others from theirs)
                    event("duty-failed", "error", **{"error.type": type(error).__name__, "error.message": str(error)})

    def _expire(self) -> None:
        self.app.deployment.expire()

    def _flush(self) -> None:
        tally = self._telemetry.tally
        tally.set(metrics.IN_FLIGHT, value=self.app.in_flight)
        tally.set(metrics.CONNECTIONS, value=len(self.listener.shared.connections))
        if self._certificate_expiry:
            tally.set(metrics.CERTIFICATE, self._settings.tls_certificate, value=self._certificate_expiry)
        self.app.deployment.describe()
        self._telemetry.flush()
        self._channel.send(Counted(tally.take()))


def _traces(settings: Settings) -> Traces | None:
    if not settings.traces:
        return None
    from serving.traces import Traces  # noqa: PLC0415 (20 MB that a server without spans does not need)

    return Traces(settings)


def _samples(settings: Settings) -> Samples | None:
    if not settings.samples:
        return None
    from serving.samples import Samples  # noqa: PLC0415 (most servers keep nothing)

    return Samples(settings)


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
