"""Spans of requests reach a collector, and a collector that is not there costs no request."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Thread
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from model.inputs import Pixels
from serving.protocols import open_inference_pb2 as pb
from tests.conftest import wait_for
from tests.serving.conftest import Serve, infer_body

INFER = "/v2/models/classifier/infer"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass
class Collector:
    """Takes spans as OTLP over HTTP has them."""

    url: str = ""
    paths: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    spans: list[Any] = field(default_factory=list)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            found.paths.add(self.path)
            for resource in sent.resource_spans:
                found.services |= {values(resource.resource)["service.name"]}
                found.spans += [span for scope in resource.scope_spans for span in scope.spans]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def values(holder: Any) -> dict[str, Any]:
    """Return attributes as a dictionary."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in holder.attributes}


def test_a_request_is_a_span_of_its_caller_s_trace(serve: Serve, collector: Collector, images: Pixels) -> None:
    """Parent and ids are right, in the log too; queue and inference lie within; unsampled ones and probes send none."""
    server = serve(traces=collector.url)
    body = json.dumps(infer_body(images[:1]))
    before = time.time_ns()
    server.ask("POST", INFER, body, {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    server.ask("POST", INFER, body, {"traceparent": f"00-{TRACE[::-1]}-{SPAN}-00"})
    server.ask("GET", "/v2/health/ready")
    server.ask("GET", "/secret/path")
    tensor = pb.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=images[:1].shape)
    asked = pb.ModelInferRequest(model_name="classifier", inputs=[tensor], raw_input_contents=[images[0].tobytes()])
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc.port']}") as channel:
        method = "/inference.GRPCInferenceService/ModelInfer"
        infer = channel.unary_unary(method, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        infer(asked, metadata=[("traceparent", f"00-{TRACE}-{SPAN}-01")])
    after = time.time_ns()
    server.stop()
    assert (collector.paths, collector.services) == ({"/v1/traces"}, {"classifier"})
    names = sorted(span.name for span in collector.spans)
    grpc_name = "inference.GRPCInferenceService/ModelInfer"
    assert names == sorted(
        ["GET", f"POST {INFER.replace('classifier', '{model}')}", grpc_name, *["queue", "inference"] * 2]
    )
    lines = [line for line in server.lines() if line.get("event.dataset") == "slipway.access"]
    for span, line in ((collector.named(names[1])[0], lines[0]), (collector.named(grpc_name)[0], lines[-1])):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
        assert (line["trace.id"], line["span.id"]) == (TRACE, span.span_id.hex())
        assert values(span)["slipway.release"] == line["labels.release"]
        queue, inference = (
            next(one for one in collector.named(name) if one.parent_span_id == span.span_id)
            for name in ("queue", "inference")
        )
        times = [before, span.start_time_unix_nano, queue.start_time_unix_nano, queue.end_time_unix_nano]
        times += [inference.start_time_unix_nano, inference.end_time_unix_nano, span.end_time_unix_nano, after]
        assert all(later - earlier > -1_000_000 for earlier, later in pairwise(times)), times
        assert {queue.trace_id.hex(), inference.trace_id.hex()} == {TRACE}
    found = values(collector.named(names[1])[0])
    assert found["http.route"] == "/v2/models/{model}/infer"
    assert (found["url.path"], found["http.response.status_code"]) == (INFER, 200)
    assert values(collector.named(grpc_name)[0])["rpc.response.status_code"] == "OK"
    (unknown,) = collector.named("GET")
    assert not unknown.parent_span_id
    assert "secret" not in str(unknown)


def test_a_dead_collector_costs_no_request(serve: Serve, images: Pixels) -> None:
    """With nobody at its address thousands are answered, one line says so, and the end is not held up."""
    server = serve(traces="http://127.0.0.1:9")
    body = json.dumps(infer_body(images[:1]))
    slowest = 0.0
    for _ in range(3000):
        started = time.perf_counter()
        assert server.ask("POST", INFER, body)[0] == 200
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 2
    wait_for(lambda: server.events("traces-lost"), "the line about it")
    started = time.perf_counter()
    assert server.stop() == 0
    assert time.perf_counter() - started < 5
    assert len(server.events("traces-lost")) == 1
    assert "Traceback" not in server.log.read_text()


def test_a_collector_that_says_nothing_costs_no_request(serve: Serve, images: Pixels) -> None:
    """The same of one that takes connections and never answers: the queue drops spans, the end is not held up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = serve(traces=f"http://127.0.0.1:{silent.getsockname()[1]}")
        body = json.dumps(infer_body(images[:1]))
        assert all(server.ask("POST", INFER, body)[0] == 200 for _ in range(3000))
        started = time.perf_counter()
        assert server.stop() == 0
        assert time.perf_counter() - started < 5
