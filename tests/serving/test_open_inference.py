"""Open Inference Protocol v2 over HTTP."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest

from model.inputs import Pixels
from model.predictor import Probabilities
from tests.serving.conftest import Server, infer_body

INFER = "/v2/models/classifier/infer"


def numbers(answer: dict) -> np.ndarray:
    (output,) = answer["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def test_health_and_metadata(server: Server) -> None:
    """They say what the model takes and gives, and that it is ready."""
    assert server.json("GET", "/v2/health/live") == {"live": True}
    assert server.json("GET", "/v2/health/ready") == {"ready": True}
    assert server.json("GET", "/v2/models/classifier/ready")["ready"] is True
    assert "binary_tensor_data" in server.json("GET", "/v2")["extensions"]
    described = server.json("GET", "/v2/models/classifier")
    assert described["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 12, 12, 1]}]
    assert described["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}]


def test_flat_and_nested_data_give_the_predictors_answer(
    server: Server, images: Pixels, answers: Probabilities
) -> None:
    """Bit for bit, whether nested, nested without a channel, or flat; the id and the release come back."""
    body = infer_body(images, id="seven")
    answer = server.json("POST", INFER, body)
    assert (numbers(answer) == answers).all()
    assert answer["id"] == "seven"
    assert answer["model_version"].startswith("dev-")
    for nested in (images, images[..., 0]):
        tensor = body["inputs"][0] | {"data": nested.tolist(), "shape": list(nested.shape)}
        assert (numbers(server.json("POST", INFER, {"inputs": [tensor]})) == answers).all()


def test_no_content_type_is_needed(server: Server, images: Pixels) -> None:
    """Triton's client sends none."""
    body = json.dumps(infer_body(images[:1]))
    connection_headers = {"Content-Type": ""}
    assert server.ask("POST", INFER, body, connection_headers)[0] == 200


def test_versions_in_addresses(server: Server, images: Pixels) -> None:
    """A served release is found by its name, another is not."""
    (name,) = server.json("GET", "/v2/models/classifier")["versions"]
    assert server.json("POST", f"/v2/models/classifier/versions/{name}/infer", infer_body(images[:1]))
    assert server.json("GET", f"/v2/models/classifier/versions/{name}/ready")["ready"] is True
    assert "v9" in server.error("/v2/models/classifier/versions/v9/infer", infer_body(images[:1]), 404)


@pytest.mark.parametrize(("ask", "binary"), [("output", True), ("request", True), ("output", False)])
def test_binary_data(server: Server, images: Pixels, answers: Probabilities, ask: str, binary: bool) -> None:
    """Pixels behind the JSON; probabilities behind the answer's when asked for either way."""
    raw = images.tobytes()
    head = infer_body(images)
    head["inputs"][0] |= {"parameters": {"binary_data_size": len(raw)}}
    del head["inputs"][0]["data"]
    if ask == "request":
        head["parameters"] = {"binary_data_output": binary}
    else:
        head["outputs"] = [{"name": "probabilities", "parameters": {"binary_data": binary}}]
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    status, found, body = server.ask("POST", INFER, text + raw, headers)
    assert status == 200, body
    if not binary:
        assert (numbers(json.loads(body)) == answers).all()
        return
    length = int(found["inference-header-content-length"])
    (output,) = json.loads(body[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(body) - length
    assert (np.frombuffer(body[length:], np.float32).reshape(output["shape"]) == answers).all()


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compression_both_ways(server: Server, images: Pixels, encoding: str, pack: object) -> None:
    """A packed request is unpacked; a long answer is packed for who takes that."""
    body = pack(json.dumps(infer_body(images)).encode())
    headers = {"Content-Encoding": encoding, "Accept-Encoding": "br;q=1.0, gzip;q=0.8"}
    status, found, answer = server.ask("POST", INFER, body, headers)
    assert status == 200
    assert found["content-encoding"] == "gzip"
    assert "outputs" in json.loads(gzip.decompress(answer))
    _, found, _ = server.ask("POST", INFER, body, headers | {"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in found


def tensor(**changes: object) -> dict:
    plain = {"name": "images", "shape": [1, 12, 12, 1], "datatype": "UINT8", "data": [0] * 144}
    return {"inputs": [{key: value for key, value in (plain | changes).items() if value is not None}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"x":' + b"[" * 100_000, "nested"),
        ([], "Expected `object`, got `array`"),
        ({}, "missing required field `inputs`"),
        ({"inputs": []}, "0 inputs"),
        ({"inputs": tensor()["inputs"] * 2}, "2 inputs"),
        (tensor(name="x"), "the model takes 'images'"),
        (tensor(datatype="FP32"), "send pixels from 0 to 255 as UINT8"),
        (tensor(data=None), "has no data"),
        (tensor(data=[]), "is not that of 0 values"),
        (tensor(data=[0] * 143), "holds 144 values, got 143"),
        (tensor(data=[256] * 144), "pixel 256"),
        (tensor(data=[-1] * 144), "pixel -1"),
        (tensor(data=[10**30] * 144), "pixel 1000"),
        (tensor(data=[0.5] * 144), "Expected `int`, got `float`"),
        (tensor(data=[True] * 144), "Expected `int`, got `bool`"),
        (tensor(data="AAAA"), "Expected `array"),
        (tensor(data=[[[0] * 12] * 11]), "shape [1, 12, 12, 1] is not that of the data"),
        (tensor(data=[[[0] * 12] * 11 + [[0]]]), "ragged"),
        (tensor(shape=[1, 144]), "expected uint8 [n, 12, 12, 1], got [1, 144]"),
        (tensor(shape=[-1, -12, 12, 1]), "is not that of 144 values"),
        (tensor(shape=[0, 0, 0, 0], data=[]), "expected uint8 [n, 12, 12, 1]"),
        (tensor(shape=[10**40, 12, 12, 1]), "is not that of 144 values"),
        (tensor(shape=[9 * 10**17] * 20_000), "is not that of 144 values"),
        (tensor(shape=[0, 10**30], data=[]), "is not that of 0 values"),
        (tensor(shape=[1] * 70 + [144]), "is not that of 144 values"),
        (tensor(shape="x"), "Expected `array`"),
        (tensor() | {"outputs": [{"name": "logits"}]}, "the model has 'probabilities' alone"),
        (tensor(parameters={"binary_data_size": 10}), "either data or binary_data_size"),
        (tensor(data=None, parameters={"binary_data_size": 10}), "0 bytes follow"),
        (b'{"inputs":[{"name":"images","shape":[1,12,12,1],"datatype":"UINT8","data":[NaN]}]}', "not JSON"),
    ],
)
def test_bad_requests_get_the_protocols_error(server: Server, body: object, said: str) -> None:
    """Status 400 and an object with the reason."""
    assert said in server.error(INFER, body)


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30, "1000000", "²"])
def test_a_bad_header_length(server: Server, length: str) -> None:
    """It must lie in the body."""
    status, _, answer = server.ask("POST", INFER, b"{}", {"Inference-Header-Content-Length": length})
    assert status == 400
    assert b"Inference-Header-Content-Length" in answer


def test_bytes_behind_the_json_must_be_declared(server: Server) -> None:
    """Nothing is silently ignored."""
    head = json.dumps(tensor()).encode()
    status, _, answer = server.ask("POST", INFER, head + b"12", {"Inference-Header-Content-Length": str(len(head))})
    assert status == 400
    assert b"2 bytes follow" in answer


def test_compressed_bodies_are_bounded(server: Server) -> None:
    """What unpacks to more than a body may have is refused, and so is what is damaged or unknown."""
    bomb = gzip.compress(b" " * 50_000_000)
    for body, encoding, expect in (
        (bomb, "gzip", 413),
        (bomb[:-9], "gzip", 413),
        (b"x", "gzip", 400),
        (b"{}", "br", 415),
    ):
        assert server.ask("POST", INFER, body, {"Content-Encoding": encoding})[0] == expect
    short = gzip.compress(b"{}")[:-3]
    assert server.ask("POST", INFER, short, {"Content-Encoding": "gzip"})[0] == 400
