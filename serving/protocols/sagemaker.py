"""What Amazon SageMaker asks of a container: `GET /ping` and `POST /invocations`.

Specification: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html. Bodies are those of
its TensorFlow containers: JSON, JSON lines, npy, and pictures.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib import format as npy

from model.inputs import Pixels
from model.predictor import Probabilities
from serving import tensors
from serving.errors import Refused
from serving.protocols import Route, images, tensorflow_serving
from serving.protocols.open_inference import ready
from serving.requests import Answer, Request, as_json, encode
from serving.tensors import Grey, Row

if TYPE_CHECKING:
    from serving.app import App

NPY = "application/x-npy"
LINES = {"application/jsonlines", "application/jsonl", "application/x-ndjson"}
JSON = {"", "application/json"}
PICTURES = {"image/png", "image/jpeg", "application/x-image"}


async def invocations(app: App, request: Request, version: str) -> Answer:
    kind = request.media_type
    if kind in JSON and _is_object(request.body):
        return await tensorflow_serving.predict(app, request, version)
    batcher = app.deployment.choose(version)
    if kind in PICTURES:
        answers = await images.classify(app, batcher, [request.body])
    else:
        array = _array(request.body, kind, app.settings.max_images)
        pixels = tensors.batch(array, batcher.release.predictor.input_shape, app.settings.max_images)
        answers = await app.deployment.submit(batcher, pixels)
    return _answer(answers, request, kind, batcher.release.name)


def _is_object(body: bytes) -> bool:
    return body[:64].lstrip()[:1] == b"{"


def _array(body: bytes, kind: str, most: int) -> Pixels:
    if kind in JSON:
        return tensors.from_nested(tensors.decode(body, list[Row], list[Grey]))
    if kind in LINES:
        if body.count(b"\n") > most:
            raise Refused(400, f"more than {most} lines: send from 1 to {most} images in a request")
        rows = [tensors.decode(line, Row, Grey) for line in body.splitlines() if line.strip()]
        return tensors.from_nested(rows)
    if kind == NPY:
        return _npy(body)
    accepted = ", ".join(sorted((JSON | LINES | PICTURES | {NPY}) - {""}))
    raise Refused(415, f"Content-Type {kind[:40]!r}: send one of {accepted}")


def _npy(body: bytes) -> Pixels:
    """Read the header first: numpy would allocate whatever size it claims."""
    file = io.BytesIO(body)
    try:
        read_header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        sides = tuple(int(side) for side in shape)
    except Exception as error:  # noqa: BLE001 (given hostile bytes, it raises anything)
        raise Refused(400, f"the body is no npy array: {str(error)[:200]}") from None
    if dtype != np.uint8 or fortran:
        raise Refused(400, f"npy of {str(dtype)[:40]}{' in Fortran order' * fortran}: expected uint8 in C order")
    return tensors.shaped(np.frombuffer(body[file.tell() :], np.uint8), sides)


def _answer(answers: Probabilities, request: Request, kind: str, release: str) -> Answer:
    """As the Accept header asks, and else as the request was."""
    accepted = request.headers.get(b"accept", b"").partition(b";")[0].strip().decode("latin-1")
    wanted = accepted if accepted and accepted != "*/*" else kind
    if wanted == NPY:
        buffer = io.BytesIO()
        np.save(buffer, answers, allow_pickle=False)
        return Answer(buffer.getvalue(), release, 200, NPY.encode(), (), answers)
    if wanted in LINES:
        lines = b"".join(encode(row) + b"\n" for row in answers.tolist())
        return Answer(lines, release, 200, wanted.encode(), (), answers)
    return as_json({"predictions": answers.tolist()}, release, probabilities=answers)


ROUTES = [
    Route("GET", "/ping", "sagemaker.ping", ready, ""),
    Route("POST", "/invocations", "sagemaker.invocations", invocations),
]
