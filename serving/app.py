"""The application: finds the route, checks who asks and how often, answers, remembers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from serving import protocols
from serving.config import Settings
from serving.decoding import Decoders
from serving.deployment import Deployment
from serving.errors import Refused
from serving.limits import RateLimit
from serving.logs import event
from serving.requests import Admission, Answer, Request, compress, decompress, error_body
from serving.telemetry import Record, Telemetry

if TYPE_CHECKING:
    from serving.auth import Authenticator

Swap = Callable[[str], Awaitable[str]]
"""Loads a release by name, or again what the settings say without one, in all workers, and returns its name."""
FAILED = Refused(500, "the server failed; its log says why")


class App:
    """What one worker's protocols share."""

    def __init__(self, settings: Settings, deployment: Deployment, telemetry: Telemetry, swap: Swap) -> None:
        """Read the credentials. Raises ServingError when a file of them cannot be read."""
        self.settings = settings
        self.deployment = deployment
        self.telemetry = telemetry
        self.swap = swap
        self.ready = False
        self.in_flight = 0
        self.decoders = Decoders(settings)
        self.authenticator = None if settings.open else _authenticator(settings)
        self._rate_limit = RateLimit(settings.rate_limit / settings.workers) if settings.rate_limit else None
        self.counts_by_address = bool(self._rate_limit) and not self.authenticator
        self._routes = protocols.Routes(settings.model_name)

    def admit(self, method: str, path: str, headers: Mapping[bytes, bytes], address: str) -> Admission | Refused:
        """Return what a request's headers ask for, or why it will not be answered."""
        try:
            route, version = self._routes.find(method, path)
            return Admission(route, version, self.identify(route.scope, headers.get(b"authorization"), address))
        except Refused as refused:
            return refused

    def identify(self, scope: str, authorization: bytes | None, address: str) -> str:
        """Return the client's name, or its address when none is asked for. Raises Refused: 401, 403 or 429."""
        if not scope:
            return ""
        if self.authenticator:
            client = self.authenticator.identify(authorization, scope).name
        elif scope == "predict":
            client = address
        else:
            raise Refused(403, "administration needs authentication: set SLIPWAY_API_KEYS or SLIPWAY_JWT_KEYS")
        if self._rate_limit:
            self._rate_limit.take(client)
        return client

    async def answer(self, request: Request, admitted: Admission | Refused) -> Answer:
        """Return the answer to a whole request, an error among them."""
        started = time.perf_counter()
        self.in_flight += 1
        headers = request.headers
        endpoint, client = "unknown", ""
        try:
            if isinstance(admitted, Refused):
                raise admitted  # noqa: TRY301 (answered as any other)
            (endpoint, handler), client = admitted.route[2:4], admitted.client
            if encoding := headers.get(b"content-encoding"):
                body = decompress(request.body, encoding.strip().lower(), self.settings.max_body)
                request = request._replace(body=body)
            answer = await handler(self, request, admitted.version)
            if accepted := headers.get(b"accept-encoding"):
                answer = compress(answer, accepted)
        except Refused as refused:
            answer = Answer(error_body(refused), status=refused.status, headers=refused.headers)
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer and the log the reason)
            self.failed(error)
            answer = Answer(error_body(FAILED), status=FAILED.status)
        finally:
            self.in_flight -= 1
        self.telemetry.remember(
            Record(
                endpoint=endpoint,
                method=request.method,
                path=request.path[:256],
                code=str(answer.status),
                release=answer.release,
                duration=time.perf_counter() - started,
                size=len(request.body),
                client=client if self.authenticator else "",
                request_id=headers.get(b"x-request-id", b"")[:128].decode("latin-1"),
                trace=headers.get(b"traceparent", b"")[3:35].decode("latin-1"),
            )
        )
        return answer

    def failed(self, error: Exception) -> None:
        """Log what a client is not told."""
        event("request-failed", "error", **{"error.type": type(error).__name__, "error.message": str(error)[:500]})


def _authenticator(settings: Settings) -> Authenticator:
    from serving.auth import Authenticator  # noqa: PLC0415 (10 MB that an open server does not need)

    return Authenticator(settings)
