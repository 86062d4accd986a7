"""Requests that wait anyway are answered together: one inference costs less than many.

Merging is free of delay when the server is idle: an inference is scheduled behind the input that the event loop has
already received, and whatever that brings joins it. `batch_wait` adds a delay on purpose, for models that gain much
from large batches.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import Executor, wait
from threading import Barrier
from typing import NamedTuple

import numpy as np

from model.inputs import Pixels
from model.predictor import Probabilities
from serving.access import Model
from serving.config import Settings
from serving.correlation import TRAIL, Trail
from serving.errors import Refused, overloaded
from serving.release import Release
from serving.telemetry import Telemetry


class _Waiting(NamedTuple):
    images: Pixels
    answer: asyncio.Future[Probabilities]
    since: float
    trail: Trail | None


class Batcher:
    """One release and the requests that wait for it, in one event loop."""

    def __init__(self, release: Release, settings: Settings, telemetry: Telemetry, pool: Executor | None) -> None:
        """Infer in the pool's threads, or without one in the event loop."""
        self.release = release
        self._settings = settings
        self._telemetry = telemetry
        self._pool = pool
        self._free = settings.threads or 1
        self._waiting: deque[_Waiting] = deque()
        self._scheduled = False
        self._loop = asyncio.get_running_loop()
        telemetry.models[release.name] = Model(release.model_sha256, release.labels)
        _warm_up(release, pool, self._free)

    def submit(self, images: Pixels) -> asyncio.Future[Probabilities]:
        """Return the answer to come for [n, height, width, channels]. Raises Refused when too many wait."""
        if len(self._waiting) >= self._settings.queue:
            raise overloaded("too many requests wait: try again later")
        answer: asyncio.Future[Probabilities] = self._loop.create_future()
        now, trail = time.perf_counter(), TRAIL.get()
        if trail:
            trail.queued = now
            if trail.sampled and len(images) == 1:
                trail.images = images
        self._waiting.append(_Waiting(images, answer, now, trail))
        self._schedule()
        return answer

    def expire(self) -> None:
        """Refuse what has waited beyond the deadline."""
        limit = time.perf_counter() - self._settings.deadline
        while self._waiting and self._waiting[0].since < limit:
            _refuse_late(self._waiting.popleft())

    def _schedule(self) -> None:
        if self._scheduled or not self._free or not self._waiting:
            return
        self._scheduled = True
        if self._settings.batch_wait:
            self._loop.call_later(self._settings.batch_wait, self._infer)
        else:
            self._loop.call_soon(self._infer)

    def _infer(self) -> None:
        self._scheduled = False
        if batch := self._next_batch():
            try:
                images = batch[0].images if len(batch) == 1 else np.concatenate([one.images for one in batch])
                if self._pool is None:
                    self._answer(batch, images, self.release.predictor.predict(images))
                else:
                    inference = self._loop.run_in_executor(self._pool, self.release.predictor.predict, images)
                    inference.add_done_callback(lambda done: self._finish(batch, images, done))
                    self._free -= 1
            except Exception as error:  # noqa: BLE001 (whoever waits must hear of it)
                _fail(batch, error)
        self._schedule()

    def _next_batch(self) -> list[_Waiting]:
        """Take from the front what fits into a batch; a request larger than that goes alone."""
        now = time.perf_counter()
        batch: list[_Waiting] = []
        room = self._settings.max_batch
        while self._waiting and (len(self._waiting[0].images) <= room or not batch):
            one = self._waiting.popleft()
            if one.answer.done():  # the client has gone
                continue
            if now - one.since > self._settings.deadline:
                _refuse_late(one)
                continue
            if one.trail:
                one.trail.began = now
            batch.append(one)
            room -= len(one.images)
        return batch

    def _finish(self, batch: list[_Waiting], images: Pixels, done: asyncio.Future[Probabilities]) -> None:
        self._free += 1
        if error := done.exception():
            _fail(batch, error)
        else:
            self._answer(batch, images, done.result())
        self._schedule()

    def _answer(self, batch: list[_Waiting], images: Pixels, answers: Probabilities) -> None:
        now = time.perf_counter()
        self._telemetry.inferred(self.release, images, answers, [now - one.since for one in batch])
        start = 0
        for one in batch:
            end = start + len(one.images)
            if one.trail:
                one.trail.ended = now
            if not one.answer.done():
                one.answer.set_result(answers[start:end])
            start = end


def _warm_up(release: Release, pool: Executor | None, threads: int) -> None:
    """Make each thread's interpreter before a request has to wait for it."""
    blank = np.zeros((1, *release.predictor.input_shape), np.uint8)
    if pool is None:
        release.predictor.predict(blank)
        return
    all_busy = Barrier(threads)

    def one_thread() -> None:
        all_busy.wait()
        release.predictor.predict(blank)

    wait([pool.submit(one_thread) for _ in range(threads)])


def _fail(batch: list[_Waiting], error: BaseException) -> None:
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(error)


def _refuse_late(one: _Waiting) -> None:
    if not one.answer.done():
        one.answer.set_exception(Refused(504, "the deadline passed before the request's turn came"))
