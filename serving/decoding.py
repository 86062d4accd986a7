"""Pictures are decoded in threads, because a photograph takes a tenth of a second; how many, how long, is bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np

from model.inputs import InputError, Pixels, Shape, to_batch
from serving.config import Settings
from serving.errors import Refused, overloaded

THREADS = 2
"""Pictures that are decoded at once: each may need three bytes a pixel of the largest."""
WAITING = 64
"""Requests that may wait for a thread; then 503."""


class Decoders:
    """The threads of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(THREADS, "decode")
        self._requests = 0

    async def decode(self, pictures: Sequence[bytes], shape: Shape) -> Pixels:
        """Return a batch. Raises Refused for what is no picture, beyond the deadline and when too many wait."""
        if self._requests >= THREADS + WAITING:
            raise overloaded("too many pictures wait: try again later")
        gone = Event()
        deadline = time.monotonic() + self._settings.deadline
        self._requests += 1
        try:
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._decode, pictures, shape, deadline, gone)
            return await work
        except InputError as error:
            raise Refused(400, str(error)) from None
        finally:
            gone.set()
            self._requests -= 1

    def _decode(self, pictures: Sequence[bytes], shape: Shape, deadline: float, gone: Event) -> Pixels:
        batch = np.empty((len(pictures), *shape), np.uint8)
        for position, picture in enumerate(pictures):
            if gone.is_set() or time.monotonic() > deadline:
                raise Refused(504, f"the deadline passed after {position} of {len(pictures)} pictures")
            try:
                batch[position] = to_batch([picture], shape, self._settings.max_pixels)[0]
            except InputError as error:
                reason = str(error).removeprefix("image 0: ")
                raise InputError(f"image {position}: {reason}") from error
        return batch
