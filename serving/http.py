"""HTTP/1.1 (RFC 9112) on asyncio and httptools, whose llhttp parses for Node.js: one task and one write a request.

A general server in front of a general framework costs several times what a small model's inference does
(docs/serving.md has the comparison). What such servers leave to a proxy is here too: bounds on headers, bodies and
memory, an end to clients that send or take too slowly, and draining.
"""

from __future__ import annotations

import asyncio
import http
import time
from collections import deque
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

import httptools

from serving.errors import Refused, overloaded
from serving.requests import Admission, Answer, Request

if TYPE_CHECKING:
    from serving.app import App

MAX_HEADERS = 100
"""Most header lines of a request."""
PIPELINED = 8
"""Requests of one connection that may wait for their turn before nothing more is read from it."""
BUFFERED = 8
"""Largest bodies that a worker may hold at once; then 503."""
LINGER = 2
"""Seconds that a refused client may go on sending before it is cut off, so that it can read why (RFC 9112, 9.6)."""
STATUS = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in http.HTTPStatus}


class _Exchange(NamedTuple):
    """A request, who may ask it or why not, and whether the connection stays open after its answer."""

    request: Request
    admitted: Admission | Refused
    keep: bool


class Shared:
    """What the connections of a worker share."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.settings = app.settings
        self.connections: set[Connection] = set()
        self.draining = False
        self.buffered = 0
        self.tick()

    def tick(self) -> None:
        """Now and then: the date for answers, and an end to clients that are too slow."""
        lines = [
            "date: " + formatdate(time.time(), usegmt=True),
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ]
        if self.settings.tls_certificate:
            lines.append("strict-transport-security: max-age=31536000")
        self.head = "".join(f"{line}\r\n" for line in lines).encode()
        now = asyncio.get_running_loop().time()
        for connection in list(self.connections):
            connection.expire(now)


class Connection(asyncio.Protocol):
    """One client's connection: parses requests, answers them in order."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[_Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reading: float | None = self._loop.time()
        self._stalled: float | None = None
        self._idle = 0.0
        self._lingering = False
        self._head_size = 0
        self._in_head = True
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_count = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._admitted: Admission | Refused | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self._address: str = peer[0] if peer else ""
        self._shared.connections.add(self)
        if len(self._shared.connections) > self._shared.settings.connections:
            self._refuse(overloaded("too many connections: try again later"))

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self._reading is None:
            self._reading = self._loop.time()
        if self._in_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(Refused(400, "this is not HTTP/1.1"))
            return
        if self._in_head and self._head_size > self._shared.settings.max_header:
            self._refuse(Refused(431, f"the headers are longer than {self._shared.settings.max_header} bytes"))

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the request again without its wish for another protocol (RFC 9110, 7.8): Java's client sends one.

        The parser takes what follows an upgrade for the other protocol, so the body would be lost.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(Refused(400, "this is no proxy"))
            return
        kept = {name: value for name, value in self._headers.items() if name not in {b"upgrade", b"connection"}}
        lines = b"".join(b"%b: %b\r\n" % line for line in kept.items())
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, self._parser.get_http_version().encode(), lines)
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (as asyncio has it)
        self._shared.connections.discard(self)
        self._lingering = True
        self._forget_body()
        self._shared.buffered -= sum(len(exchange.request.body) for exchange in self._pending)
        self._pending.clear()
        if self._task:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._stalled = self._loop.time()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._stalled = None
        self._next()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._begin()
        self._in_head = True
        if self._reading is None:
            self._reading = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_size = 0
        if self._lingering or self._parser.should_upgrade():
            return
        headers, settings = self._headers, self._shared.settings
        if self._header_count > MAX_HEADERS:
            self._refuse(Refused(431, f"more than {MAX_HEADERS} headers"))
            return
        length = headers.get(b"content-length", b"0")
        if len(length) > 18 or int(length) > settings.max_body:
            self._refuse(self._too_large())
            return
        self._method = self._parser.get_method().decode("ascii")
        self._path, self._query = _split(self._url)
        self._admitted = self._shared.app.admit(self._method, self._path, headers, self._address)
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            if isinstance(self._admitted, Refused):
                self._refuse(self._admitted)
            elif self._parser.get_http_version() == "1.1":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._lingering:
            return
        self._body_size += len(body)
        if self._body_size > self._shared.settings.max_body:
            self._refuse(self._too_large())
        elif not isinstance(self._admitted, Refused):
            self._body.append(body)
            self._shared.buffered += len(body)
            if self._shared.buffered > BUFFERED * self._shared.settings.max_body:
                self._refuse(overloaded("too many large requests at once: try again later"))

    def on_message_complete(self) -> None:
        if self._lingering or self._admitted is None:
            return
        self._reading = None
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        request = Request(self._method, self._path, self._query, self._headers, body)
        self._queue(_Exchange(request, self._admitted, self._parser.should_keep_alive()))

    # Answering.

    def _queue(self, exchange: _Exchange) -> None:
        self._pending.append(exchange)
        if len(self._pending) > PIPELINED:
            self._transport.pause_reading()
        self._next()

    def _next(self) -> None:
        """Answer the next request, unless one is being answered or the client does not take what was."""
        if self._task is not None or self._stalled is not None:
            return
        if self._pending:
            self._task = self._loop.create_task(self._answer(self._pending.popleft()))
        else:
            self._idle = self._loop.time()
        if len(self._pending) <= PIPELINED:
            self._transport.resume_reading()

    async def _answer(self, exchange: _Exchange) -> None:
        request = exchange.request
        try:
            answer = await self._shared.app.answer(request, exchange.admitted)
        finally:
            self._shared.buffered -= len(request.body)
            self._task = None
        keep = exchange.keep and (not self._shared.draining or bool(self._pending))
        self._write(answer, keep=keep, bodiless=request.method == "HEAD")
        if keep:
            self._next()
        else:
            self._close()

    def _write(self, answer: Answer, *, keep: bool, bodiless: bool) -> None:
        head = [STATUS[answer.status], self._shared.head, b"content-type: ", answer.media_type, b"\r\n"]
        if answer.release:
            head += (b"x-release: ", answer.release.encode(), b"\r\n")
        for name, value in answer.headers:
            head += (name, b": ", value, b"\r\n")
        if not keep:
            head.append(b"connection: close\r\n")
        elif self._parser.get_http_version() == "1.0":
            head.append(b"connection: keep-alive\r\n")
        head += (b"content-length: %d\r\n\r\n" % len(answer.body), b"" if bodiless else answer.body)
        self._transport.write(b"".join(head))

    def _refuse(self, refused: Refused) -> None:
        """Answer in its turn what will not be read to its end, and take nothing more."""
        if self._lingering or self._transport.is_closing():
            return
        self._lingering = True
        self._forget_body()
        self._queue(_Exchange(Request("", "", b"", {}, b""), refused, keep=False))

    def _close(self) -> None:
        """Close; but a client that is still sending may first read the answer, which a reset would take from it."""
        sending = self._reading is not None and self._transport.can_write_eof()
        self._lingering = True
        if sending:
            self._reading = self._loop.time()
            self._transport.write_eof()
        else:
            self._transport.close()

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._shared.settings.max_body} bytes")

    def _forget_body(self) -> None:
        self._shared.buffered -= sum(len(part) for part in self._body)
        self._body = []

    def expire(self, now: float) -> None:
        """End the connection when the client has been sending, taking or doing nothing for too long."""
        settings = self._shared.settings
        if self._lingering:
            if self._task is None and self._reading is not None and now - self._reading > LINGER:
                self._transport.abort()
        elif self._stalled is not None:
            if now - self._stalled > settings.read_timeout:
                self._transport.abort()
        elif self._reading is not None:
            if now - self._reading > settings.read_timeout:
                self._refuse(Refused(408, "the request took too long to arrive"))
        elif self._task is None and not self._pending and now - self._idle > settings.keep_alive:
            self._close()

    def stop(self) -> None:
        """Close when nothing is being received or answered, nor has been a moment ago."""
        idle = self._task is None and self._reading is None and not self._pending
        if idle and self._loop.time() - self._idle > LINGER / 4:
            self._close()


def _split(url: bytes) -> tuple[str, bytes]:
    """Return the path, decoded, and the query of a request target (RFC 9112, 3.2)."""
    if not url.startswith(b"/"):
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return "*", b""
        path, query = parsed.path or b"/", parsed.query or b""
    else:
        path, _, query = url.partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace"), query
