"""Open Inference Protocol v2 over gRPC, as bytes on the wire: real clients are in test_clients."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from model.inputs import Pixels
from model.predictor import Probabilities
from serving import keys
from serving.protocols import open_inference_pb2 as pb
from tests.conftest import ROOT, wait_for
from tests.serving.conftest import Serve, Server

SERVICE = "/inference.GRPCInferenceService/"


class Client:
    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def call(self, name: str, request: Any, **options: Any) -> Any:
        response = getattr(pb, f"{name}Response")
        call = self._channel.unary_unary(SERVICE + name, type(request).SerializeToString, response.FromString)
        return call(request, timeout=20, **options)

    def refused(self, name: str, request: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as error:
            self.call(name, request, **options)
        return error.value.code(), error.value.details()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    longest = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc.port']}", longest) as channel:
        yield Client(channel)


def infer(images: Pixels, *, raw: bool = False, **changes: Any) -> Any:
    tensor = pb.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=images.shape)
    request = pb.ModelInferRequest(model_name="classifier", id="seven")
    if raw:
        request.raw_input_contents.append(images.tobytes())
    else:
        tensor.contents.uint_contents.extend(images.ravel().tolist())
    for name, value in changes.items():
        if name == "shape":
            del tensor.shape[:]
            tensor.shape.extend(value)
        elif name in {"model_name", "model_version"}:
            setattr(request, name, value)
        else:
            setattr(tensor, name, value)
    request.inputs.append(tensor)
    return request


def test_health_and_metadata(client: Client) -> None:
    """They say what the model takes and gives, and that it is ready."""
    assert client.call("ServerLive", pb.ServerLiveRequest()).live
    assert client.call("ServerReady", pb.ServerReadyRequest()).ready
    assert client.call("ModelReady", pb.ModelReadyRequest(name="classifier")).ready
    assert "binary_tensor_data" in client.call("ServerMetadata", pb.ServerMetadataRequest()).extensions
    described = client.call("ModelMetadata", pb.ModelMetadataRequest(name="classifier"))
    assert list(described.inputs[0].shape) == [-1, 12, 12, 1]
    assert described.outputs[0].datatype == "FP32"


def test_both_forms_give_the_predictors_answer(client: Client, images: Pixels, answers: Probabilities) -> None:
    """Typed contents are answered with typed contents, raw ones with raw ones; bit for bit."""
    typed = client.call("ModelInfer", infer(images))
    assert typed.id == "seven"
    assert typed.model_version.startswith("dev-")
    found = np.array(typed.outputs[0].contents.fp32_contents, np.float32).reshape(typed.outputs[0].shape)
    assert (found == answers).all()
    raw = client.call("ModelInfer", infer(images, raw=True))
    assert not raw.outputs[0].HasField("contents")
    found = np.frombuffer(raw.raw_output_contents[0], np.float32).reshape(raw.outputs[0].shape)
    assert (found == answers).all()


def test_refusals_have_the_status_of_their_reason(client: Client, images: Pixels) -> None:
    """INVALID_ARGUMENT or NOT_FOUND, with the reason in words."""
    one = images[:1]
    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    both = infer(one, raw=True)
    both.inputs[0].contents.uint_contents.append(1)
    twice = infer(one)
    twice.inputs.append(twice.inputs[0])
    other = infer(one)
    other.outputs.add(name="logits")
    too_bright = infer(one)
    too_bright.inputs[0].contents.uint_contents[0] = 256
    for request, code, said in (
        (infer(one, model_name="other"), missing, "'classifier'"),
        (infer(one, model_version="v9"), missing, "v9"),
        (infer(one, name="x"), invalid, "'images'"),
        (infer(one, datatype="FP32"), invalid, "UINT8"),
        (infer(one, shape=[2, 12, 12, 1]), invalid, "holds 288 values, got 144"),
        (infer(one, shape=[-1, -144]), invalid, "is not that of 144 values"),
        (infer(one, raw=True, shape=[1, 144]), invalid, "expected uint8"),
        (pb.ModelInferRequest(model_name="classifier"), invalid, "0 inputs"),
        (both, invalid, "once"),
        (twice, invalid, "2 inputs"),
        (other, invalid, "'probabilities'"),
        (too_bright, invalid, "pixel 256"),
    ):
        found, details = client.refused("ModelInfer", request)
        assert (found, said in details) == (code, True), details
    code, _ = client.refused("ModelMetadata", pb.ModelMetadataRequest(name="other"))
    assert code is missing


def test_messages_are_bounded_and_must_parse(client: Client, server: Server) -> None:
    """Neither too large a message nor noise reaches a method, and the server goes on."""
    request = infer(np.zeros((1, 12, 12, 1), np.uint8))
    request.raw_input_contents.append(b"\0" * 21_000_000)
    assert client.refused("ModelInfer", request)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc.port']}") as channel:
        call = channel.unary_unary(f"{SERVICE}ModelInfer", lambda data: data, lambda data: data)
        with pytest.raises(grpc.RpcError):
            call(b"\xff" * 100, timeout=20)
    assert client.call("ServerLive", pb.ServerLiveRequest()).live


def test_requests_are_counted(client: Client, server: Server, images: Pixels) -> None:
    """By method and status."""
    series = 'slipway_requests_total{code="NOT_FOUND",endpoint="grpc.ModelReady",release=""}'
    before = server.metric(series)
    client.refused("ModelReady", pb.ModelReadyRequest(name="other"))

    def counted() -> bool:
        client.call("ModelInfer", infer(images[:1]))
        return server.metric(series) == before + 1

    wait_for(counted, "the count")


def test_the_generated_module_is_that_of_the_definition(tmp_path: Path) -> None:
    """Protoc makes the file that is committed."""
    name = "serving/protocols/open_inference"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"{name}.proto"]
    subprocess.run(command, cwd=ROOT, check=True)
    assert (tmp_path / f"{name}_pb2.py").read_text() == (ROOT / f"{name}_pb2.py").read_text()


def test_who_sends_nothing_holds_nobody_up(serve: Serve, images: Pixels) -> None:
    """Calls without a message are ended after a while; calls without a credential at once, whatever follows."""
    server = serve(read_timeout=1)
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc.port']}") as channel:
        start = channel.stream_unary(f"{SERVICE}ModelInfer", lambda data: data, lambda data: data)
        ending = threading.Event()

        def silence() -> Iterator[bytes]:
            ending.wait(20)
            yield from ()

        calls = [start.future(silence()) for _ in range(100)]
        assert Client(channel).call("ModelInfer", infer(images[:1])).outputs
        assert {call.code() for call in calls} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        ending.set()


def test_credentials(serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str], images: Pixels) -> None:
    """As over HTTP: metadata with a bearer key, or UNAUTHENTICATED; health needs none."""
    file = tmp_path / "keys.json"
    keys.main([str(file), "issue", "--name", "ci", "--scope", "predict"])
    secret = capsys.readouterr().out.strip()
    server = serve(api_keys=file)
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc.port']}") as channel:
        client = Client(channel)
        assert client.call("ServerReady", pb.ServerReadyRequest()).ready
        assert client.refused("ModelInfer", infer(images[:1]))[0] is grpc.StatusCode.UNAUTHENTICATED
        found = client.call("ModelInfer", infer(images[:1]), metadata=[("authorization", f"Bearer {secret}")])
        assert found.outputs


def test_tls_and_client_certificates(serve: Serve, certificates: Path, images: Pixels) -> None:
    """As over HTTP: who has a certificate of the CA is answered, nobody else."""
    read = {path.name: path.read_bytes() for path in certificates.iterdir()}
    paths = {"tls_certificate": certificates / "server.pem", "tls_key": certificates / "server.key"}
    server = serve(**paths, tls_client_ca=certificates / "ca.pem")
    address = f"127.0.0.1:{server.ports['grpc.port']}"
    ours = grpc.ssl_channel_credentials(read["ca.pem"], read["client.key"], read["client.pem"])
    with grpc.secure_channel(address, ours) as channel:
        assert Client(channel).call("ModelInfer", infer(images[:1])).outputs
    for key, chain in ((None, None), (read["stranger.key"], read["stranger.pem"])):
        with grpc.secure_channel(address, grpc.ssl_channel_credentials(read["ca.pem"], key, chain)) as channel:
            assert Client(channel).refused("ServerLive", pb.ServerLiveRequest())[0] is grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(address) as channel:
        assert Client(channel).refused("ServerLive", pb.ServerLiveRequest())[0] is grpc.StatusCode.UNAVAILABLE
