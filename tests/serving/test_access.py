"""A line of the access log: whatever a client sends, one object a request, with nothing of the client's own in it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model.inputs import Pixels
from model.predictor import Probabilities
from serving import correlation
from serving.access import NAMES
from serving.protocols import open_inference_pb2 as pb
from tests.conftest import ROOT, wait_for
from tests.serving.conftest import Server, infer_body, start

INFER = "/v2/models/classifier/infer"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ADDRESS = "192.0.2.77"
TOKEN = "eyJhbGciOiJFZERTQSJ9!eyJzdWIiOiJhbm5hIn0!c2lnbmF0dXJlLXRoYXQtaXMtbm90LW9uZQ".replace("!", ".")  # no secret
HEADERS = [
    "X-Request-Id",
    "traceparent",
    "tracestate",
    "User-Agent",
    "X-Forwarded-For",
    "Forwarded",
    "Cookie",
    "Accept",
]
HEADERS += ["Authorization", "Content-Type", "Content-Encoding", "Accept-Encoding", "Expect", "Connection", "Upgrade"]
PATHS = ["/v1/predict", INFER, "/v2/models/classifier/versions/{}/infer", "/{}", "*", "http://model.example.com/{}"]
KINDS = ["key", "token", "address", "pixels", ""]
PIXELS = bytes(range(33, 127))
"""A payload that would be seen in a line if any of it were there."""


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of keys, and the key."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    command = [sys.executable, "-m", "serving.keys", file, "issue", "--name", "ci", "--scope", "predict"]
    return file, subprocess.check_output(command, cwd=ROOT, text=True, stderr=subprocess.DEVNULL).strip()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, trained: Path, secret: tuple[Path, str]) -> Iterator[Server]:
    """A server that wants a key."""
    server = start(tmp_path_factory.mktemp("guarded"), trained, api_keys=secret[0])
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def new_lines(server: Server, position: int, count: int = 1) -> tuple[bytes, list[Any]]:
    """Return what was logged after a position once that many requests are, each line parsed."""
    wait_for(lambda: server.log.read_bytes()[position:].count(b'"slipway.access"') >= count, "the line")
    text = server.log.read_bytes()[position:]
    return text, [json.loads(line) for line in text.splitlines()]


def send(server: Server, message: bytes) -> bytes:
    """Return what the server says to raw bytes before it closes."""
    with socket.create_connection(("127.0.0.1", server.ports["http.port"]), timeout=30) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def chunks(secret: str) -> list[str]:
    """Return what would give a secret away: any 12 characters of it in a row."""
    return [secret[start : start + 12] for start in range(len(secret) - 11)]


class Sent(NamedTuple):
    """A request, with places for a secret of a kind in its path, query and headers."""

    path: str
    kind: str
    query: bool
    headers: list[tuple[str, bytes, str]]

    def message(self, secrets: dict[str, str]) -> bytes:
        target = self.path.replace("{}", secrets[self.kind]) + f"?key={secrets[self.kind]}" * self.query
        headers = [(name.encode(), value + secrets[kind].encode()) for name, value, kind in self.headers]
        if b"Authorization" not in dict(headers):
            headers.append((b"Authorization", b"Bearer " + secrets["key"].encode()))
        headers += [
            (b"Host", b"model.example.com"),
            (b"Content-Length", b"%d" % len(PIXELS)),
            (b"Connection", b"close"),
        ]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"POST %b HTTP/1.1\r\n%b\r\n%b" % (target.encode(), lines, PIXELS)


values = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"a\r\n b", b"\x00", b"\x1b[31m", b'","forged":"', b"\xff\xfe\xc3\x28", b"\xe2\x80\xa8", b"x" * 30000]
    ),
    st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.just(f"00-{TRACE}-{SPAN}-01".encode()),
)
places = st.lists(st.tuples(st.sampled_from(HEADERS), values, st.sampled_from(KINDS)))
paths = st.one_of(
    st.sampled_from(PATHS),
    st.binary(max_size=60).map(lambda path: "/" + "".join(f"%{byte:02x}" for byte in path)),
)


requests = st.builds(Sent, paths, st.sampled_from(KINDS), st.booleans(), places)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(sent=st.lists(requests, min_size=1, max_size=10))
@example([Sent(path, kind, True, [(name, b"", kind)]) for path in PATHS for kind in KINDS for name in HEADERS])
def test_nothing_of_a_client_s_gets_into_a_line(guarded: Server, secret: tuple[Path, str], sent: list[Sent]) -> None:
    """Whatever headers, path and query hold, keys, tokens, addresses and pixels among it: one JSON object a request."""
    secrets = {"key": secret[1], "token": TOKEN, "address": ADDRESS, "pixels": PIXELS.hex(), "": ""}
    position = guarded.log.stat().st_size
    for one in sent:
        assert send(guarded, one.message(secrets)).startswith(b"HTTP/1.1 ")
    text, found = new_lines(guarded, position, len(sent))
    assert len(found) == len(sent)
    assert all(set(line) <= set(NAMES.values()) for line in found)
    assert max(map(len, text.splitlines())) < 1000
    whole = text.decode()  # valid UTF-8
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", whole)
    for kind in ("key", "token", "pixels"):
        assert not [piece for piece in chunks(secrets[kind]) if piece in whole], kind
    assert not [one for one in (ADDRESS, "127.0.0.1", PIXELS.decode()[:12]) if one in whole]


@settings(max_examples=300)
@given(st.binary(max_size=80))
@example(f"00-{TRACE}-{SPAN}-01\n".encode())
def test_a_trace_is_one_or_nothing(text: bytes) -> None:
    """Any bytes as traceparent: an id of 32 and one of 16 hexadecimal digits, or none."""
    found = correlation.parent(text)
    assert found is None or re.fullmatch("[0-9a-f]{32}/[0-9a-f]{16}", f"{found.trace}/{found.span}")


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        ("", None),
    ],
)
def test_traceparent(text: str, sampled: bool | None) -> None:
    """As W3C Trace Context has it: what is not valid is not there."""
    found = correlation.parent(text.encode())
    assert found == (None if sampled is None else (TRACE, SPAN, sampled))


def test_an_answer_names_its_line(server: Server, trained: Path, images: Pixels, answers: Probabilities) -> None:
    """The id in the answer, a client's or a new one, is the line's, which has class, model and trace."""
    position = server.log.stat().st_size
    body = json.dumps(infer_body(images[:1]))
    headers = {"X-Request-Id": "order-17", "traceparent": f"00-{TRACE}-{SPAN}-01"}
    _, first, _ = server.ask("POST", INFER, body, headers)
    _, second, _ = server.ask("POST", INFER, json.dumps(infer_body(images[:2])))
    _, third, _ = server.ask("GET", "/nothing", None, {"X-Request-Id": "no id"})
    _, found = new_lines(server, position, 3)
    assert [line["http.request.id"] for line in found] == [one["x-request-id"] for one in (first, second, third)]
    assert found[0]["http.request.id"] == "order-17"
    assert len({line["http.request.id"] for line in found}) == 3
    manifest = json.loads((trained / "manifest.json").read_text())
    assert found[0]["labels.class"] == manifest["labels"][answers[0].argmax()]
    assert found[0]["labels.model_sha256"] == manifest["files"]["model.tflite"]
    assert (found[0]["trace.id"], found[0]["span.id"]) == (TRACE, SPAN)
    assert found[0]["http.response.status_code"] == 200
    assert "labels.class" not in found[1]
    assert "url.path" not in found[2]
    assert found[0]["@timestamp"] <= found[1]["@timestamp"] <= found[2]["@timestamp"]


def test_grpc_is_logged_as_http_is(server: Server, trained: Path, images: Pixels, answers: Probabilities) -> None:
    """Over gRPC the id comes back as trailing metadata, of a failure too, and the line has class and trace."""
    position = server.log.stat().st_size
    tensor = pb.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=images[:1].shape)
    asked = pb.ModelInferRequest(model_name="classifier", inputs=[tensor], raw_input_contents=[images[0].tobytes()])
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc.port']}") as channel:
        method = "/inference.GRPCInferenceService/ModelInfer"
        infer = channel.unary_unary(method, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        _, call = infer.with_call(
            asked, metadata=[("x-request-id", "order-18"), ("traceparent", f"00-{TRACE}-{SPAN}-01")]
        )
        assert dict(call.trailing_metadata())["x-request-id"] == "order-18"
        with pytest.raises(grpc.RpcError) as failure:
            infer(pb.ModelInferRequest(model_name=TOKEN), metadata=[("x-request-id", TOKEN)])
    text, (first, second) = new_lines(server, position, 2)
    labels = json.loads((trained / "manifest.json").read_text())["labels"]
    assert first["labels.class"] == labels[answers[0].argmax()]
    assert (first["http.request.id"], first["trace.id"], first["span.id"]) == ("order-18", TRACE, SPAN)
    assert (first["labels.grpc_status"], second["labels.grpc_status"]) == ("OK", "NOT_FOUND")
    assert second["http.request.id"] == dict(failure.value.trailing_metadata())["x-request-id"]
    assert TOKEN.encode() not in text
