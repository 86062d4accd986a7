"""A steady load of real pictures: those of the test set, which the model has not learned from."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
import requests

from model.inputs import Pixels

Change = Callable[[Pixels], Pixels]
THREADS = 16


class Traffic:
    """Threads that ask servers in turn for predictions, one image [1, height, width, channels] a request."""

    def __init__(self, servers: list[str], images: Pixels, rate: float) -> None:
        """Ask so many times a second in all; `change` may be set to what is done to each image."""
        self.answers: Counter[str] = Counter()
        """By status, or by the kind of error."""
        self.change: Change | None = None
        self.images = images
        self.paused = False
        self._servers = servers
        self._pause = THREADS / rate
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        session = requests.Session()
        random = np.random.default_rng(number)
        due = time.monotonic()
        while not self._stopping.is_set():
            if not self.paused:
                image = self.images[random.integers(len(self.images), size=1)]
                self._send(session, self._servers[random.integers(len(self._servers))], image)
            due = max(due + self._pause, time.monotonic() - 1)
            self._stopping.wait(max(0.0, due - time.monotonic()))

    def _send(self, session: requests.Session, server: str, image: Pixels) -> None:
        body = io.BytesIO()
        np.save(body, self.change(image) if self.change else image)
        try:
            answer = session.post(
                f"{server}/invocations", body.getvalue(), headers={"content-type": "application/x-npy"}, timeout=10
            )
            self.answers[str(answer.status_code)] += 1
        except requests.RequestException as error:
            self.answers[type(error).__name__] += 1
