"""HTTP/1.1 on the wire: framing, limits, slow clients, errors that leave the server answering others."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.inputs import Pixels
from tests.conftest import wait_for
from tests.serving.conftest import Serve, Server, infer_body

CUT = "reset|pipe|closed|ended|refused|TLS|SSL|EOF|certificate|alert"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
INFER = "/v2/models/classifier/infer"


@contextmanager
def connection(server: Server, timeout: float = 15) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.ports["http.port"]), timeout) as open_socket:
        yield open_socket


def read_all(open_socket: socket.socket) -> bytes:
    """Return everything until the server closes."""
    parts = []
    while data := open_socket.recv(65536):
        parts.append(data)
    return b"".join(parts)


def exchange(server: Server, *parts: bytes, pause: float = 0, end: bool = True) -> bytes:
    """Send parts, with pauses between, and return everything until the server closes."""
    with connection(server) as open_socket:
        for part in parts:
            open_socket.sendall(part)
            time.sleep(pause)
        if end:
            open_socket.shutdown(socket.SHUT_WR)
        return read_all(open_socket)


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]


def post(body: bytes, *lines: str, path: str = INFER) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


CLOSE = b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_pipelined_requests_are_answered_in_order(server: Server, images: Pixels) -> None:
    """A slow one first, an error among them, and none lost."""
    picture = json.dumps(infer_body(images)).encode()
    answer = exchange(server, post(picture), LIVE, post(b"{}"), *[LIVE] * 30, CLOSE, end=False)
    assert statuses(answer) == [200, 200, 400, *[200] * 31]
    assert answer.index(b'"outputs"') < answer.index(b'"live"') < answer.index(b'"error"')


def test_bytes_may_come_one_by_one(server: Server) -> None:
    """However they are cut."""
    whole = post(b"{}", "Connection: close")
    assert statuses(exchange(server, *(bytes([byte]) for byte in whole), end=False)) == [400]


def test_a_chunked_body(server: Server, images: Pixels) -> None:
    """As curl sends what it has no length of."""
    body = json.dumps(infer_body(images[:1])).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:100], body[100:])) + b"0\r\n\r\n"
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    assert statuses(exchange(server, head, chunks, end=False)) == [200]


def test_old_clients(server: Server) -> None:
    """HTTP/1.0 closes, or stays open when asked to."""
    assert statuses(exchange(server, b"GET /ping HTTP/1.0\r\n\r\n", end=False)) == [200]
    keep = b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answer = exchange(server, keep, b"GET /ping HTTP/1.0\r\n\r\n", pause=0.2, end=False)
    assert statuses(answer) == [200, 200]
    assert b"connection: keep-alive" in answer


def test_head_has_no_body(server: Server) -> None:
    """But the length of what GET answers."""
    answer = exchange(server, b"HEAD /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", end=False)
    assert answer.endswith(b"content-length: 13\r\n\r\n")


def test_expect_continue(server: Server) -> None:
    """A client that asks first is told to go on, or why not."""
    body = json.dumps(infer_body_zero()).encode()
    with connection(server) as open_socket:
        open_socket.sendall(post(body, "Expect: 100-continue")[: -len(body)])
        assert open_socket.recv(100).startswith(b"HTTP/1.1 100 Continue")
        open_socket.sendall(body)
        assert open_socket.recv(100).startswith(b"HTTP/1.1 200")
    refused = post(body, "Expect: 100-continue", path="/nothing")[: -len(body)]
    assert statuses(exchange(server, refused, end=False)) == [404]


def infer_body_zero() -> dict[str, object]:
    tensor = {"name": "images", "shape": [1, 12, 12, 1], "datatype": "UINT8", "data": [0] * 144}
    return {"inputs": [tensor]}


def test_a_wish_for_http_2_is_declined_with_an_answer(server: Server) -> None:
    """Java's client and `curl --http2` send the whole request with one."""
    body = json.dumps(infer_body_zero()).encode()
    lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    answer = exchange(server, post(body, *lines), CLOSE, end=False)
    assert statuses(answer) == [200, 200]


def test_a_client_may_close_its_side_first(server: Server) -> None:
    """What it has sent whole is answered."""
    assert statuses(exchange(server, LIVE, LIVE)) == [200, 200]


def test_trailers_are_no_headers_and_have_an_end(server: Server) -> None:
    """One is ignored, endless ones are cut off."""
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n".encode()
    assert statuses(exchange(server, head + b"Content-Encoding: zstd\r\n\r\n", CLOSE, end=False)) == [400, 200]
    with connection(server) as open_socket:
        open_socket.sendall(head)
        with suppress(OSError):
            for number in range(200):
                open_socket.sendall(b"".join(b"x-%d-%d: y\r\n" % (number, line) for line in range(2000)))
        assert statuses(read_all(open_socket)) == [431]


def test_a_deaf_client_does_not_hold_up_the_end(serve: Serve) -> None:
    """One that takes none of its answers is cut off, and memory and shutdown are as without it."""
    server = serve(read_timeout=1, shutdown=5)
    wait_for(lambda: server.metric("slipway_worker_resident_memory_bytes") > 0, "the first numbers")
    before = server.metric("slipway_worker_resident_memory_bytes")
    pages = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 600 + CLOSE
    deaf = [socket.create_connection(("127.0.0.1", server.ports["http.port"]), 5) for _ in range(10)]
    for one in deaf:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        one.sendall(pages)
    wait_for(lambda: server.metric("slipway_connections") == 0, "the connections to be cut", 15)
    assert server.metric("slipway_worker_resident_memory_bytes") - before < 100e6
    for one in deaf:
        one.close()
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n", 400),
        (post(b"{}", "Transfer-Encoding: chunked"), 400),
        (post(b"{}", "Content-Length: 3"), 400),
        (post(b"")[:-4] + b"0x10\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"DELETE /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
        (b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 4294967296\r\n\r\n", 413),
        (b"POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n", 413),
        (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /v2 HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"POST /v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 300_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
def test_what_is_wrong_is_said_and_the_connection_ends(server: Server, request_bytes: bytes, status: int) -> None:
    """With one status and no second answer."""
    answer = exchange(server, request_bytes, end=False)
    assert statuses(answer) == [status]
    assert b"connection: close" in answer
    assert b'{"error":"' in answer


def test_a_client_that_sends_too_much_reads_why(server: Server) -> None:
    """The answer is not lost to a reset while the client is still sending."""
    with connection(server) as open_socket:
        open_socket.sendall(b"POST /v2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n%b\r\n" % (1_000_000, b"x" * 1_000_000)
        with suppress(OSError):
            for _ in range(40):
                open_socket.sendall(chunk)
        assert statuses(read_all(open_socket)) == [413]


@given(st.lists(st.binary(max_size=300), max_size=5), st.booleans())
def test_noise_never_breaks_the_server(server: Server, parts: list[bytes], real: bool) -> None:
    """Any bytes, alone or behind a request: only errors that are the client's, and others are answered."""
    start = [b"POST /v2/models/classifier/infer HTTP/1.1\r\n"] if real else []
    try:
        answer = exchange(server, *start, *parts)
    except ConnectionResetError:
        answer = b""
    assert all(status < 500 for status in statuses(answer))
    assert server.ask("GET", "/v2/health/live")[0] == 200
    assert not server.events("request-failed")


def test_slow_clients_are_ended(serve: Serve) -> None:
    """In the head, in the body, between pipelined requests, silent from the start, and reading nothing."""
    server = serve(read_timeout=1, keep_alive=2)
    trickle = [b"POST /v2 HTTP/1.1\r\n", *[b"A: b\r\n"] * 27]
    with connection(server) as open_socket, pytest.raises(OSError, match=CUT):
        for part in trickle:
            open_socket.sendall(part)
            time.sleep(0.3)
    for opening, expected in (
        (b"", [408]),
        (b"GET / HT", [408]),
        (post(b"x" * 100)[:-50], [408]),
        (LIVE + b"GET", [200, 408]),
        (LIVE, [200]),
    ):
        started = time.monotonic()
        assert statuses(exchange(server, opening, end=False)) == expected
        assert time.monotonic() - started < 6
    with connection(server) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        page = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
        deaf.setblocking(False)
        sent, deadline = 0, time.monotonic() + 5
        with pytest.raises(OSError, match=CUT):
            while time.monotonic() < deadline:
                try:
                    sent += deaf.send(page)
                except BlockingIOError:
                    time.sleep(0.05)
            pytest.fail(f"still open after {sent} bytes")
    wait_for(lambda: server.metric("slipway_connections") == 0, "all connections to end")


def test_memory_stays_bounded_under_large_requests(serve: Serve) -> None:
    """Many half-sent large bodies, decompression bombs and floods: some are refused, and the memory stays."""
    server = serve(max_body=4_000_000, read_timeout=20)
    wait_for(lambda: server.metric("slipway_worker_resident_memory_bytes") > 0, "the first numbers")
    before = server.metric("slipway_worker_resident_memory_bytes")
    open_sockets = []
    for _ in range(40):
        one = socket.create_connection(("127.0.0.1", server.ports["http.port"]), 10)
        one.sendall(post(b"x" * 3_900_000, path="/v1/predict")[:3_900_000])
        open_sockets.append(one)
    answers = []
    for one in open_sockets:
        one.settimeout(0.2)
        try:
            answers.append(statuses(one.recv(100)))
        except TimeoutError:
            answers.append([])
        except ConnectionResetError:
            answers.append([503])
    assert [503] in answers
    assert server.ask("GET", "/v2/health/live")[0] == 200
    time.sleep(1.1)
    assert server.metric("slipway_worker_resident_memory_bytes") - before < 100e6
    for one in open_sockets:
        one.close()
    wait_for(lambda: server.metric("slipway_connections") == 0, "all connections to end")
    assert server.ask("POST", "/v1/predict", b"x" * 3_000_000)[0] == 400


def test_too_many_connections(serve: Serve) -> None:
    """The one over the limit hears 503 and when to come back; the others go on."""
    server = serve(connections=5)
    with connection(server) as first:
        first.sendall(LIVE)
        assert first.recv(1000).startswith(b"HTTP/1.1 200")
        others = [socket.create_connection(("127.0.0.1", server.ports["http.port"]), 5) for _ in range(4)]
        answer = exchange(server, end=False)
        assert statuses(answer) == [503]
        assert b"retry-after: 1" in answer
        first.sendall(LIVE)
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        for other in others:
            other.close()


def test_rate_limit(serve: Serve) -> None:
    """A client that asks too often is told when it may again."""
    server = serve(rate_limit=2)
    found = [server.ask("GET", "/v2")[:2] for _ in range(5)]
    assert [status for status, _ in found] == [200, 200, 429, 429, 429]
    assert found[-1][1]["retry-after"] == "1"
    assert server.ask("GET", "/v2/health/live")[0] == 200
    time.sleep(1.1)
    assert server.ask("GET", "/v2")[0] == 200


def test_every_answer_is_hardened(server: Server) -> None:
    """Headers that browsers and caches act on, and no hint of what the server is made of."""
    for path in ("/", "/v2", "/nothing"):
        _, headers, _ = server.ask("GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
    assert "default-src 'none'" in server.ask("GET", "/")[1]["content-security-policy"]


def over_tls(server: Server, folder: Path, client: str = "", **options: object) -> int:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    for name, value in options.items():
        setattr(context, name, value)
    if client:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    url = f"https://127.0.0.1:{server.ports['http.port']}/v2"
    with urllib.request.urlopen(url, context=context, timeout=10) as answer:
        assert answer.headers["strict-transport-security"]
        return int(answer.status)


def test_tls_and_client_certificates(serve: Serve, certificates: Path) -> None:
    """Who has a certificate of the CA is answered; nobody else, nor over plain HTTP or old TLS."""
    paths = {"tls_certificate": certificates / "server.pem", "tls_key": certificates / "server.key"}
    server = serve(**paths)
    assert over_tls(server, certificates) == 200
    ends = f'slipway_certificate_expiry_timestamp_seconds{{file="{paths["tls_certificate"]}"}}'
    wait_for(lambda: 86400 < server.metric(ends) - time.time() < 2 * 86400, "when the certificate ends")
    with pytest.raises(OSError, match=CUT):
        over_tls(server, certificates, maximum_version=ssl.TLSVersion.TLSv1_1)
    with pytest.raises(OSError, match=CUT):
        urllib.request.urlopen(f"{server.url}/v2", timeout=5)
    mutual = serve(**paths, tls_client_ca=certificates / "ca.pem")
    assert over_tls(mutual, certificates, "client") == 200
    for stranger in ("", "stranger"):
        with pytest.raises(OSError, match=CUT):
            over_tls(mutual, certificates, stranger)


def test_a_wrong_certificate_ends_the_start(serve: Serve, certificates: Path) -> None:
    """With the files' names."""
    server = serve(wait=False, tls_certificate=certificates / "server.pem", tls_key=certificates / "client.key")
    assert server.process.wait(30) == 1
    assert "client.key" in server.log.read_text()
