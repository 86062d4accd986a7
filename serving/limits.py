"""How often a client may ask: a token bucket each, and never more buckets than a bound."""

from __future__ import annotations

import math
import time

from serving.errors import Refused

CLIENTS = 10_000
"""Clients that are remembered; those that asked longest ago are forgotten first."""


class RateLimit:
    """A token bucket a client (as in RFC 2697): `rate` requests a second, and a second's worth at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = max(rate, 1.0)
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, client: str) -> None:
        """Count a request. Raises Refused when the client has none left, with the seconds until it has."""
        now = time.monotonic()
        left, before = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - before) * self._rate)
        if allowed := left >= 1:
            left -= 1
        self._buckets[client] = (left, now)  # last in order, so the first is the one to forget
        if len(self._buckets) > CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        if not allowed:
            seconds = math.ceil((1 - left) / self._rate)
            raise Refused(429, "too many requests", ((b"retry-after", b"%d" % seconds),))
