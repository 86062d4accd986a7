"""What Amazon SageMaker asks of a container."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from model.inputs import Pixels
from model.predictor import Probabilities
from tests.conftest import encode
from tests.serving.conftest import Server


def npy(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def test_ping(server: Server) -> None:
    """A ready container says 200."""
    assert server.ask("GET", "/ping")[0] == 200


def test_every_body_gives_the_predictors_answer(server: Server, images: Pixels, answers: Probabilities) -> None:
    """JSON objects, JSON arrays, JSON lines and npy, answered in kind or as Accept asks."""
    lines = "\n".join(json.dumps(one) for one in images.tolist())
    for body, kind in (
        (json.dumps({"instances": images.tolist()}), "application/json"),
        (json.dumps({"instances": images.tolist()}), "application/json; charset=utf-8"),
        (json.dumps(images.tolist()), "application/json"),
        (json.dumps(images[..., 0].tolist()), "application/json"),
    ):
        answer = server.json("POST", "/invocations", body.encode(), **{"Content-Type": kind})
        assert (np.array(answer["predictions"], np.float32) == answers).all()
    for body, kind in ((lines, "application/jsonlines"), (npy(images), "application/x-npy")):
        for accept in ("application/jsonlines", "application/x-npy", "*/*"):
            status, headers, answer = server.ask("POST", "/invocations", body, {"Content-Type": kind, "Accept": accept})
            assert status == 200, answer
            wanted = kind if accept == "*/*" else accept
            assert headers["content-type"] == wanted
            if wanted == "application/x-npy":
                found = np.load(io.BytesIO(answer))
            else:
                found = np.array([json.loads(line) for line in answer.splitlines()], np.float32)
            assert (found == answers).all()


def test_pictures(server: Server, images: Pixels, answers: Probabilities) -> None:
    """A PNG of the model's own size loses nothing."""
    body = encode(Image.fromarray(images[0, ..., 0]))
    for kind in ("image/png", "application/x-image"):
        answer = server.json("POST", "/invocations", body, **{"Content-Type": kind})
        assert (np.array(answer["predictions"], np.float32) == answers[:1]).all()


CLAIM = b"{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999, 12, 12, 1), }"
HUGE = b"\x93NUMPY\x01\x00v\x00" + CLAIM.ljust(117) + b"\n"
DEEP = b"\x93NUMPY\x01\x00v\x00" + b"(" * 117 + b"\n"


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"x", "text/csv", 415, "text/csv"),
        (b"x", "application/x-npy", 400, "no npy array"),
        (HUGE, "application/x-npy", 400, "999999999999"),
        (DEEP, "application/x-npy", 400, "no npy array"),
        (npy(np.zeros((1, 12, 12, 1), np.float32)), "application/x-npy", 400, "expected uint8"),
        (npy(np.zeros((2, 12, 12, 1), np.uint8))[:-1], "application/x-npy", 400, "got 287"),
        (npy(np.asfortranarray(np.zeros((2, 12, 12, 1), np.uint8))), "application/x-npy", 400, "Fortran"),
        (npy(np.zeros(2, object), allow_pickle=True), "application/x-npy", 400, "expected uint8"),
        (npy(np.zeros((), np.uint8)), "application/x-npy", 400, "expected uint8 [n, 12, 12, 1]"),
        (b"[1]\nx", "application/jsonlines", 400, "Expected `array`"),
        (b"", "application/jsonlines", 400, "expected uint8"),
        (b"[[0]]\n[[0,1]]", "application/jsonlines", 400, "ragged"),
        (b"", "application/json", 400, "not JSON"),
        (b"not a picture", "image/png", 400, "not a PNG or JPEG"),
    ],
)
def test_bad_requests(server: Server, body: bytes, kind: str, status: int, said: str) -> None:
    """A status of the 400s and an object with the reason."""
    assert said in server.error("/invocations", body, status, **{"Content-Type": kind})
