"""Constant load from several clients that check every answer and lose none."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.serving.contenders import open_inference
from model.inputs import Pixels
from model.predictor import Predictor

INFER = "/v2/models/classifier/infer"


class Load:
    """What the clients saw: requests answered rightly by release, and everything else in words."""

    def __init__(self, port: int, images: Pixels, predictors: Mapping[str, Predictor]) -> None:
        """Prepare requests of single images; each answer must be that of the release which it names."""
        self.sent = 0
        self.answered: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.refused: list[str] = []
        """Connections that were not taken: nobody accepted those requests."""
        self._port = port
        self._bodies = [open_inference(one[None]).content for one in images]
        self._expected = {name: predictor.predict(images) for name, predictor in predictors.items()}
        self._lock = threading.Lock()
        self._ending = threading.Event()

    @contextmanager
    def run(self, clients: int) -> Iterator[Load]:
        threads = [threading.Thread(target=self._client, args=(number, clients)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ending.set()
            for thread in threads:
                thread.join(90)

    def _client(self, number: int, step: int) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._ending.is_set():
            number = (number + step) % len(self._bodies)
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
                    connection.connect()
            except OSError as error:
                connection = None
                self.refused.append(str(error))
                time.sleep(0.02)
                continue
            with self._lock:
                self.sent += 1
            try:
                connection.request("POST", INFER, self._bodies[number])
                response = connection.getresponse()
                self._judge(number, response.status, json.loads(response.read()))
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection = None
                continue
            if response.will_close:
                connection = None

    def _judge(self, number: int, status: int, body: Any) -> None:  # noqa: ANN401 (JSON)
        if status != 200:
            self.wrong.append(f"{status} {body}")
            return
        answer = np.array(body["outputs"][0]["data"], np.float32)
        name = body["model_version"]
        if (answer == self._expected[name][number]).all():
            with self._lock:
                self.answered[name] += 1
        else:
            self.wrong.append(f"{name} answered {answer} for picture {number}")
