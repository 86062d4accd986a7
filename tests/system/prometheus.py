"""Questions to a Prometheus that runs."""

from __future__ import annotations

import time
from typing import Any

import requests

Series = dict[str, Any]


class Prometheus:
    """Of an address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[Series]:
        """Return series with `metric` and `value`, of now."""
        return self._ask("query", query=expression)

    def range(self, expression: str, seconds: float, step: float = 1) -> list[Series]:
        """Return series with `metric` and `values`, of the last seconds."""
        now = time.time()
        return self._ask("query_range", query=expression, start=now - seconds, end=now, step=step)

    def _ask(self, kind: str, **parameters: object) -> list[Series]:
        answer = requests.get(f"{self.url}/api/v1/{kind}", parameters, timeout=30).json()
        assert answer["status"] == "success", f"{parameters['query']}: {answer['error']}"
        return list(answer["data"]["result"])
