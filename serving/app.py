"""The application: finds the route, checks who asks and how often, answers, remembers."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from serving import correlation, protocols
from serving.access import Record
from serving.config import Settings
from serving.correlation import CHOSEN, TRAIL, Parent, Trail
from serving.decoding import Decoders
from serving.deployment import Deployment
from serving.errors import Refused
from serving.limits import RateLimit
from serving.logs import event
from serving.requests import Admission, Answer, Request, compress, decompress, error_body
from serving.telemetry import Telemetry

if TYPE_CHECKING:
    from serving.auth import Authenticator

Swap = Callable[[str], Awaitable[str]]
"""Loads a release by name, or again what the settings say without one, in all workers, and returns its name."""
FRAMES = 10
"""Most places of a failure that are named, from where it happened outwards."""
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
        endpoint, client, exact = "unknown", "", True
        parent = correlation.parent(headers.get(b"traceparent"))
        trail = self.follow(parent)
        CHOSEN.set("")  # the task of the request before has begun this one's
        try:
            if isinstance(admitted, Refused):
                raise admitted  # noqa: TRY301 (answered as any other)
            (endpoint, handler), client = admitted.route[2:4], admitted.client
            exact = not admitted.version
            if encoding := headers.get(b"content-encoding"):
                body = decompress(request.body, encoding.strip().lower(), self.settings.max_body)
                request = request._replace(body=body)
            answer = await handler(self, request, admitted.version)
            if accepted := headers.get(b"accept-encoding"):
                answer = compress(answer, accepted)
        except Refused as refused:
            answer = Answer(error_body(refused), CHOSEN.get(), status=refused.status, headers=refused.headers)
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets an answer and the log the reason)
            self.failed(error, request.id)
            answer = Answer(error_body(FAILED), CHOSEN.get(), status=FAILED.status)
        finally:
            self.in_flight -= 1
        # Whoever mistakes the address may have put anything into it.
        known = endpoint != "unknown" and (exact or answer.release)
        self.telemetry.remember(
            Record(
                time=started,
                endpoint=endpoint,
                method=request.method,
                path=request.path if known else "",
                code=str(answer.status),
                release=answer.release,
                duration=time.perf_counter() - started,
                size=len(request.body),
                client=client if self.authenticator else "",
                label=answer.probabilities,
                request_id=request.id.decode(),
                trace=parent.trace if parent else "",
                span=parent.span if parent else "",
                trail=trail,
            )
        )
        return answer

    def follow(self, parent: Parent | None) -> Trail | None:
        """Keep account of what happens in the running task, if anybody wants to know."""
        settings = self.settings
        if not (settings.traces or settings.samples):
            return None
        sampled = bool(settings.samples) and random.random() * 100 < settings.samples_percent  # noqa: S311 (a share)
        trail = Trail(parent, sampled) if settings.traces or sampled else None
        TRAIL.set(trail)
        return trail

    def failed(self, error: Exception, request_id: bytes) -> None:
        """Log what a client is not told: what failed and where. Its message may quote the request, so not that."""
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
        trace = "\n".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
        fields = {"error.type": type(error).__name__, "error.stack_trace": trace}
        event("request-failed", "error", **fields, **{"http.request.id": request_id.decode()})


def _authenticator(settings: Settings) -> Authenticator:
    from serving.auth import Authenticator  # noqa: PLC0415 (10 MB that an open server does not need)

    return Authenticator(settings)
