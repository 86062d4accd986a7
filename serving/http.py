"""HTTP/1.1 (RFC 9112) on asyncio and httptools, whose llhttp parses for Node.js: one task and one write a request.

A general server in front of a general framework costs several times what a small model's inference does
(docs/serving.md has the comparison). What such servers leave to a proxy is here too: bounds on headers, bodies and
memory, an end to clients that send or take too slowly, and draining.
"""

from __future__ import annotations

import asyncio
import http
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import httptools

from serving import correlation, head
from serving.errors import Refused, overloaded
from serving.requests import Admission, Answer, Request

if TYPE_CHECKING:
    from serving.listener import Shared

MAX_HEADERS = 100
"""Most header lines of a request."""
PIPELINED, MOST_PIPELINED = 8, 1000
"""Requests of one connection that may wait before nothing more is read from it; and those that one read may bring."""
READ_SIZE = 2**18
"""Most bytes that the event loop reads at once."""
BUFFERED = 8
"""Largest bodies that a worker may hold at once; then 503."""
LINGER = 2
"""Seconds that a refused client may go on sending before it is cut off, so that it can read why (RFC 9112, 9.6)."""
STATUS = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in http.HTTPStatus}


class _Exchange(NamedTuple):
    """A request, who may ask it or why not, its HTTP version, and whether the connection stays open afterwards."""

    request: Request
    admitted: Admission | Refused
    version: str
    keep: bool


class Connection(asyncio.Protocol):
    """One client's connection: parses requests, answers them in order."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._pending: deque[_Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._held = 0  # bytes of bodies that are not answered yet
        self._unused = 0  # bytes since the last piece of a body or end of a head
        # Times: since when a request arrives, the client takes no answer, nothing happens, the end has been near.
        self._reading: float | None = self._loop.time()
        self._stalled: float | None = None
        self._idle = 0.0
        self._ending: float | None = None
        self._half_closed = False
        self._paused = False
        self._begin()

    def _begin(self) -> None:
        self._in_head = True
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._hosts = 0
        self._header_count = 0
        self._body: bytes | bytearray = b""
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
        if self._reading is None:
            self._reading = self._loop.time()
        rest: bytes | None = data
        while rest is not None and self._ending is None:
            self._unused += len(rest)
            rest = self._feed(rest)
        if self._ending is None and self._reading is not None and self._unused > self._allowance():
            self._refuse(self._too_long())

    def _feed(self, data: bytes) -> bytes | None:
        """Parse, and return what is to be parsed again, if anything is."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(Refused(400, "this is not HTTP/1.1"))
        return None

    def _allowance(self) -> int:
        """Return how many bytes may bring nothing: a head's, or what surrounds the chunks of a body."""
        return self._shared.settings.max_header if self._in_head else self._shared.settings.max_header + 2 * READ_SIZE

    def _decline_upgrade(self, rest: bytes) -> bytes | None:
        """Return the request without its wish for another protocol (RFC 9110, 7.8): Java's client sends one.

        The parser takes what follows an upgrade for the other protocol, so the body would be lost.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(Refused(400, "this is no proxy"))
            return None
        kept = {name: value for name, value in self._headers.items() if name not in {b"upgrade", b"connection"}}
        if b"close" in self._headers.get(b"connection", b"").lower():
            kept[b"connection"] = b"close"
        lines = b"".join(b"%b: %b\r\n" % line for line in kept.items())
        version = self._parser.get_http_version().encode()
        self._parser = httptools.HttpRequestParser(self)
        return b"%b %b HTTP/%b\r\n%b\r\n%b" % (method, self._url, version, lines, rest)

    def eof_received(self) -> bool:
        """Keep the way back open while answers are due: the client may have sent all that it wants to."""
        self._half_closed = True
        return self._task is not None or bool(self._pending)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (as asyncio has it)
        self._shared.connections.discard(self)
        self._ending = self._loop.time()
        self._release(self._held)
        self._pending.clear()
        if self._task:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._stalled = self._loop.time()
        self._pause()

    def resume_writing(self) -> None:
        self._stalled = None
        self._next()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._begin()
        if self._reading is None:
            self._reading = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, which nothing here asks for and which must not pass for a header (RFC 9110, 6.5.1)
        self._header_count += 1
        if self._header_count <= MAX_HEADERS:
            name = name.lower()
            self._headers[name] = value
            self._hosts += name == b"host"

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._ending is not None or self._parser.should_upgrade():
            return
        settings = self._shared.settings
        self._method = self._parser.get_method().decode("ascii")
        try:
            if self._header_count > MAX_HEADERS:
                raise Refused(431, f"more than {MAX_HEADERS} headers")  # noqa: TRY301 (answered as any other)
            # All that was read is an upper bound, and costs less to know.
            if self._unused > settings.max_header and head.size(self._url, self._headers) > settings.max_header:
                raise self._too_long()
            version = self._parser.get_http_version()
            head.check(self._headers, version, self._hosts, settings)
        except Refused as refused:
            self._refuse(refused)
            return
        self._unused = 0
        self._path, self._query = head.split(self._url)
        self._admitted = self._shared.app.admit(self._method, self._path, self._headers, self._address)
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._pending and self._task is None:
            if isinstance(self._admitted, Refused):
                self._refuse(self._admitted)
            else:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._unused = 0
        self._body_size += len(body)
        if self._ending is not None:
            return
        if self._body_size > self._shared.settings.max_body:
            self._refuse(self._too_large())
            return
        if isinstance(self._admitted, Refused):
            return  # it will be answered without its body
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        self._held += len(body)
        self._shared.buffered += len(body)
        if self._shared.buffered > BUFFERED * self._shared.settings.max_body:
            self._refuse(overloaded("too many large requests at once: try again later"))

    def on_message_complete(self) -> None:
        if self._ending is not None or self._admitted is None:
            return
        self._reading = None
        self._unused = 0
        request = Request(self._method, self._path, self._query, self._headers, bytes(self._body), self._id())
        self._body = b""
        if len(self._pending) >= MOST_PIPELINED:
            self._refuse(overloaded("too many requests at once on a connection: take some answers first"))
        else:
            self._queue(
                _Exchange(request, self._admitted, self._parser.get_http_version(), self._parser.should_keep_alive())
            )

    def _id(self) -> bytes:
        return correlation.request_id(self._headers.get(b"x-request-id"))

    # Answering.

    def _queue(self, exchange: _Exchange) -> None:
        self._pending.append(exchange)
        if len(self._pending) > PIPELINED:
            self._pause()
        self._next()

    def _next(self) -> None:
        """Answer the next request, unless one is being answered or the client does not take what was."""
        if self._task is not None or self._stalled is not None:
            return
        if self._pending:
            self._task = self._loop.create_task(self._answer(self._pending.popleft()))
        else:
            self._idle = self._loop.time()
        if self._paused and len(self._pending) <= PIPELINED:
            self._paused = False
            self._transport.resume_reading()

    def _pause(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    async def _answer(self, exchange: _Exchange) -> None:
        request = exchange.request
        try:
            answer = await self._shared.app.answer(request, exchange.admitted)
        finally:
            self._task = None
            self._release(len(request.body))
        last = self._half_closed or self._shared.draining
        keep = exchange.keep and not (last and not self._pending)
        self._write(answer, exchange, keep=keep)
        if keep:
            self._next()
        else:
            self._close()

    def _write(self, answer: Answer, exchange: _Exchange, *, keep: bool) -> None:
        lines = [STATUS[answer.status], self._shared.head, b"content-type: ", answer.media_type, b"\r\n"]
        if answer.release:
            lines += (b"x-release: ", answer.release.encode(), b"\r\n")
        for name, value in answer.headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"x-request-id: ", exchange.request.id, b"\r\n")
        if not keep:
            lines.append(b"connection: close\r\n")
        elif exchange.version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        body = b"" if exchange.request.method == "HEAD" else answer.body
        lines += (b"content-length: %d\r\n\r\n" % len(answer.body), body)
        self._transport.write(b"".join(lines))

    def _refuse(self, refused: Refused) -> None:
        """Answer in its turn what will not be read to its end, and take nothing more."""
        if self._ending is not None or self._transport.is_closing():
            return
        self._ending = self._loop.time()
        self._release(len(self._body))
        self._body = b""
        method = (self._parser.get_method() or b"").decode("latin-1")
        self._queue(_Exchange(Request(method, "", b"", {}, b"", self._id()), refused, "1.1", keep=False))

    def _release(self, size: int) -> None:
        size = min(size, self._held)
        self._held -= size
        self._shared.buffered -= size

    def _close(self) -> None:
        """Close; but a client that is still sending may first read the answer, which a reset would take from it."""
        self._ending = self._loop.time()
        self._pending.clear()
        if self._reading is not None and not self._half_closed and self._transport.can_write_eof():
            self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.close()

    def _too_long(self) -> Refused:
        return Refused(431, f"the headers are longer than {self._shared.settings.max_header} bytes")

    def _too_large(self) -> Refused:
        return head.too_large(self._shared.settings)

    def expire(self, now: float) -> None:
        """End the connection when the client has been sending, taking or doing nothing for too long."""
        settings = self._shared.settings
        if self._stalled is not None:
            if now - self._stalled > settings.read_timeout:
                self._transport.abort()
        elif self._ending is not None:
            patience = settings.read_timeout if self._reading is None else LINGER
            if self._task is None and not self._pending and now - self._ending > patience:
                self._transport.abort()
        elif self._reading is not None:
            if now - self._reading > settings.read_timeout:
                self._refuse(Refused(408, "the request took too long to arrive"))
        elif self._task is None and not self._pending and now - self._idle > settings.keep_alive:
            self._close()

    def stop(self) -> None:
        """Close when nothing is being received or answered, nor has been a moment ago."""
        idle = self._task is None and self._reading is None and not self._pending and self._ending is None
        if idle and self._loop.time() - self._idle > LINGER / 4:
            self._close()

    def abort(self) -> None:
        self._transport.abort()
