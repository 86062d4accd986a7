"""The parent of the workers: binds the ports, keeps workers alive, swaps releases in all or none, serves metrics."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

import msgspec

from serving import sockets
from serving.config import Settings
from serving.errors import ServingError
from serving.logs import event
from serving.messages import Abort, Channel, Commit, Counted, FromWorker, Prepare, Prepared, Ready, Swap, Swapped
from serving.metrics import STARTED, SWAPS, WORKER_EXITS, WORKERS, Sample
from serving.target import Target, configured
from serving.totals import Totals

PATIENCE = 120
"""Seconds for a worker to load a release."""
YOUNG, LONGEST_PAUSE = 10, 30
"""Seconds that a worker lives when nothing is wrong; seconds between two starts of one that keeps ending before."""


class _Worker:
    """A running worker process, as its parent sees it."""

    def __init__(self, process: Process, channel: Channel[FromWorker]) -> None:
        self.process = process
        self.channel = channel
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.prepared: asyncio.Future[Prepared] | None = None
        self.following: asyncio.Task[None] | None = None
        self.gone = False

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()


class Supervisor:
    """Runs `settings.workers` workers until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        """Bind the ports. Raises ServingError when one is taken."""
        self._settings = settings
        self._target = msgspec.structs.replace(configured(settings), expected=settings.release)
        self._swap_number = 0
        self._listening = sockets.listen(settings.host, settings.port, "SLIPWAY_PORT")
        self._grpc = sockets.reserve(settings.host, settings.grpc_port, "SLIPWAY_GRPC_PORT") if settings.grpc else None
        self._totals = Totals()
        self._totals.merge(0, [Sample(WORKER_EXITS.name, (), [0]), Sample(STARTED.name, (), [time.time()])])
        self._workers: dict[int, _Worker] = {}
        self._changing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._hurried = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until SIGTERM, or SIGINT to spare the drain. Raises ServingError when the workers cannot start."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._hurry)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._background(self._reload()))
        metrics_port = self._serve_metrics()
        starting = [asyncio.create_task(self._start()) for _ in range(self._settings.workers)]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            first = await asyncio.gather(*starting)
            keepers = [asyncio.create_task(self._keep(worker)) for worker in first]
            event("serving", **{"labels.release": await first[0].ready}, **self._addresses(metrics_port))
            await stopped
            event("stopping")
            self._listening.close()
            await self._stop()
            await asyncio.gather(*keepers)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            for worker in self._workers.values():
                worker.kill()

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _addresses(self, metrics_port: int) -> dict[str, int]:
        addresses: dict[str, int] = {"http.port": self._listening.getsockname()[1]}
        if self._grpc:
            addresses["grpc.port"] = self._grpc.getsockname()[1]
        if self._settings.metrics:
            addresses["metrics.port"] = metrics_port
        return addresses

    def _serve_metrics(self) -> int:
        if not self._settings.metrics:
            return 0
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415 (workers start meanwhile)

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._totals)
        try:
            server, _ = start_http_server(self._settings.metrics_port, self._settings.host, registry)
        except OSError as error:
            raise ServingError(f"SLIPWAY_METRICS_PORT={self._settings.metrics_port}: {error.strerror}") from error
        return int(server.server_port)

    async def _start(self) -> _Worker:
        """Return a worker that is ready. Raises ServingError when it ends before."""
        if self._stopping.is_set():
            raise ServingError("the server is shutting down")
        ours, theirs = socket.socketpair()
        listening, control = self._listening.fileno(), theirs.fileno()
        grpc_port = self._grpc.getsockname()[1] if self._grpc else 0
        target = msgspec.json.encode(self._target).decode()
        arguments = [str(control), str(listening), str(grpc_port), target]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "serving.worker", *arguments, pass_fds=(control, listening)
            )
        worker = _Worker(process, await Channel.open(ours, FromWorker))
        self._workers[process.pid] = worker
        worker.following = asyncio.create_task(self._follow(worker))
        try:
            await asyncio.wait_for(worker.ready, PATIENCE)
        except TimeoutError:
            worker.kill()
            raise ServingError(f"a worker was not ready within {PATIENCE} s") from None
        self._count_workers()
        return worker

    async def _keep(self, worker: _Worker) -> None:
        """Replace a worker whenever it ends; one that keeps ending young after growing pauses."""
        young = 0
        while True:
            began = time.monotonic()
            code = await worker.process.wait()
            self._workers.pop(worker.process.pid, None)
            self._totals.forget(worker.process.pid)
            if self._stopping.is_set():
                return
            event("worker-ended", "error", **{"process.exit_code": code, "process.child.pid": worker.process.pid})
            self._totals.merge(0, [Sample(WORKER_EXITS.name, (), [1])])
            self._count_workers()
            young = young + 1 if time.monotonic() - began < YOUNG else 0
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), min(2**young - 1, LONGEST_PAUSE) if young > 1 else 0)
                try:
                    async with self._changing:
                        worker = await self._start()
                except (ServingError, OSError):
                    young += 1
                else:
                    break

    async def _follow(self, worker: _Worker) -> None:
        async for message in worker.channel.messages():
            match message:
                case Ready(release):
                    worker.ready.set_result(release)
                case Prepared(number) if number == self._swap_number and worker.prepared:
                    worker.prepared.set_result(message)
                case Counted(samples):
                    self._totals.merge(worker.process.pid, samples)
                case Swap():
                    self._background(self._swap_for(worker, message))
        worker.gone = True
        await worker.process.wait()  # so that it can say why
        if not worker.ready.done():
            worker.ready.set_exception(ServingError("a worker did not start"))
        if worker.prepared and not worker.prepared.done():
            worker.prepared.set_result(Prepared(self._swap_number, error="a worker ended while it loaded the release"))

    async def _swap_for(self, worker: _Worker, asked: Swap) -> None:
        try:
            release = await self._swap(self._named(asked.release))
            worker.channel.send(Swapped(asked.number, release))
        except ServingError as error:
            worker.channel.send(Swapped(asked.number, error=str(error)))

    def _named(self, release: str) -> Target:
        """Return the target with another stable release. Raises ServingError unless it is a name among the releases."""
        if not release:
            return configured(self._settings)
        if not self._settings.releases:
            raise ServingError("SLIPWAY_RELEASES is not set, so releases cannot be named")
        if Path(release).name != release or release.startswith("."):
            raise ServingError(f"{release[:100]!r} is not the name of a release")
        return msgspec.structs.replace(self._target, stable=str(Path(self._settings.releases) / release), expected="")

    async def _reload(self) -> None:
        try:
            await self._swap(configured(self._settings))
        except ServingError:
            return  # logged, and what served goes on serving

    async def _swap(self, target: Target) -> str:
        """Load a target in all workers, then switch all or none. Raises ServingError with the first reason."""
        async with self._changing:
            workers = [worker for worker in self._workers.values() if not worker.gone]
            if not workers:
                self._target = target  # those that start next will try it
                raise ServingError("no worker is running; those that start next will serve it if they can")
            self._swap_number += 1
            waiting = []
            for worker in workers:
                worker.prepared = asyncio.get_running_loop().create_future()
                waiting.append(worker.prepared)
                worker.channel.send(Prepare(self._swap_number, target))
            done, late = await asyncio.wait(waiting, timeout=PATIENCE)
            errors = [one.result().error for one in done if one.result().error]
            if late:
                errors.append(f"a worker did not load the release within {PATIENCE} s")
            for worker in workers:
                worker.channel.send(Abort() if errors else Commit())
            self._totals.merge(0, [Sample(SWAPS.name, ("refused" if errors else "done",), [1])])
            if errors:
                event("swap-refused", "error", **{"error.message": errors[0]})
                raise ServingError(errors[0])
            self._target = target
            name = done.pop().result().release
            event("swapped", **{"labels.release": name})
            return name

    def _count_workers(self) -> None:
        ready = sum(worker.ready.done() and not worker.gone for worker in self._workers.values())
        self._totals.merge(0, [Sample(WORKERS.name, (), [ready])])

    def _hurry(self) -> None:
        self._hurried = True
        self._stopping.set()
        self._tell(signal.SIGQUIT)

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.process.send_signal(number)

    async def _stop(self) -> None:
        self._tell(signal.SIGQUIT if self._hurried else signal.SIGTERM)
        waits = [asyncio.create_task(worker.process.wait()) for worker in self._workers.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=self._settings.shutdown)
            for worker in self._workers.values():
                if late and worker.process.returncode is None:
                    event("killed", "error", **{"process.child.pid": worker.process.pid})
                    worker.kill()


async def _main(settings: Settings) -> None:
    await Supervisor(settings).run()


def run(settings: Settings) -> None:
    """Serve until told to stop. Raises ServingError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    asyncio.run(_main(settings))
