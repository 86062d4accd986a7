"""Open Inference Protocol v2 over HTTP, with the binary tensor data extension, as KServe, Triton and MLServer speak it.

Specification: https://github.com/kserve/open-inference-protocol and Triton's protocol/extension_binary_data.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import numpy as np

from model.inputs import Pixels
from model.predictor import Probabilities
from serving import tensors
from serving.errors import Refused
from serving.protocols import Route
from serving.release import Release
from serving.requests import Answer, Request, as_json, encode
from serving.tensors import INPUT, OUTPUT, Grey, Row

if TYPE_CHECKING:
    from serving.app import App

LENGTH = b"inference-header-content-length"
BINARY = b"application/octet-stream"
SERVER = {"name": "slipway", "version": "2", "extensions": ["binary_tensor_data", "model_repository"]}
Parameters = dict[str, Any]
Data = TypeVar("Data")
"""A JSON array: flat, or nested as the shape says, with or without a channel of its own for grey images."""


class Input(msgspec.Struct, Generic[Data]):
    name: str
    shape: list[int]
    datatype: str
    data: Data | None = None
    parameters: Parameters = {}


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct, Generic[Data]):
    inputs: list[Input[Data]]
    id: str = ""
    parameters: Parameters = {}
    outputs: list[RequestedOutput] = []


FORMS = (InferRequest[list[int]], InferRequest[list[Row]], InferRequest[list[Grey]])


class Output(msgspec.Struct, omit_defaults=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[float] | None = None
    parameters: Parameters = {}


class InferResponse(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[Output]
    id: str = ""


async def infer(app: App, request: Request, version: str) -> Answer:
    batcher = app.deployment.choose(version)
    length = request.headers.get(LENGTH)
    if length is None:
        head, binary = request.body, b""
    else:
        size = int(length) if length.isdigit() and len(length) < 12 else -1
        if not 0 <= size <= len(request.body):
            raise Refused(
                400, "Inference-Header-Content-Length: expected the length of the JSON that the body begins with"
            )
        head, binary = request.body[:size], request.body[size:]
    asked: InferRequest[Any] = tensors.decode(head, *FORMS)
    release = batcher.release
    pixels = tensors.batch(_pixels(asked, binary), release.predictor.input_shape, app.settings.max_images)
    for output in asked.outputs:
        check_output(output.name)
    answers = await app.deployment.submit(batcher, pixels)
    return _answer(asked, answers, app.settings.model_name, release.name)


def _pixels(asked: InferRequest[Any], binary: bytes) -> Pixels:
    if len(asked.inputs) != 1:
        raise Refused(400, f"{len(asked.inputs)} inputs: the model takes one, {INPUT!r}")
    (given,) = asked.inputs
    check(given.name, given.datatype)
    size = given.parameters.get("binary_data_size")
    if size is not None:
        if given.data is not None:
            raise Refused(400, "an input has either data or binary_data_size")
        if size != len(binary):
            raise Refused(400, f"binary_data_size is {str(size)[:40]}, but {len(binary)} bytes follow the JSON")
        return tensors.shaped(np.frombuffer(binary, np.uint8), given.shape)
    if binary:
        raise Refused(400, f"{len(binary)} bytes follow the JSON, but the input has no binary_data_size")
    if given.data is None:
        raise Refused(400, f"the input {INPUT!r} has no data")
    if given.data and isinstance(given.data[0], list):
        nested = tensors.from_nested(given.data)
        if list(nested.shape) != given.shape:
            raise Refused(400, f"shape {given.shape} is not that of the data, {list(nested.shape)}")
        return nested
    return tensors.from_flat(given.data, given.shape)


def check(name: str, datatype: str) -> None:
    """Raise Refused unless this is the model's input."""
    if name != INPUT:
        raise Refused(400, f"input {name[:40]!r}: the model takes {INPUT!r}")
    if datatype != "UINT8":
        raise Refused(400, f"datatype {datatype[:40]!r}: send pixels from 0 to 255 as UINT8")


def check_output(name: str) -> None:
    """Raise Refused unless this is the model's output."""
    if name != OUTPUT:
        raise Refused(400, f"output {name[:40]!r}: the model has {OUTPUT!r} alone")


def _answer(asked: InferRequest[Any], answers: Probabilities, name: str, version: str) -> Answer:
    flags = asked.outputs[0].parameters if asked.outputs else {}
    if flags.get("binary_data", asked.parameters.get("binary_data_output", False)) is not True:
        output = Output(OUTPUT, "FP32", answers.shape, answers.ravel().tolist())
        body = encode(InferResponse(name, version, [output], asked.id))
        return Answer(body, version, probabilities=answers)
    binary = answers.tobytes()
    output = Output(OUTPUT, "FP32", answers.shape, None, {"binary_data_size": len(binary)})
    head = encode(InferResponse(name, version, [output], asked.id))
    return Answer(head + binary, version, 200, BINARY, ((LENGTH, b"%d" % len(head)),), answers)


async def live(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001 (as every handler)
    return as_json({"live": True})


async def ready(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001
    return as_json({"ready": app.ready}, status=200 if app.ready else 503)


async def model_ready(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001
    release = app.deployment.choose(version).release
    content = {"name": app.settings.model_name, "ready": app.ready}
    return as_json(content, release.name, 200 if app.ready else 503)


async def server_metadata(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001
    return as_json(SERVER)


async def model_metadata(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001
    release = app.deployment.choose(version or "stable").release
    return as_json(describe(app, release), release.name)


def describe(app: App, release: Release) -> dict[str, Any]:
    """Return the model's metadata, whose form HTTP and gRPC share."""
    return {
        "name": app.settings.model_name,
        "versions": app.deployment.versions(),
        "platform": "litert",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *release.manifest.input_shape]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(release.labels)]}],
    }


_MODEL = "/v2/models/{model}"
_VERSION = _MODEL + "/versions/{version}"
ROUTES = [
    Route("GET", "/v2", "v2.metadata", server_metadata),
    Route("GET", "/v2/health/live", "v2.live", live, ""),
    Route("GET", "/v2/health/ready", "v2.ready", ready, ""),
    *(
        route
        for path in (_MODEL, _VERSION)
        for route in (
            Route("GET", path, "v2.model-metadata", model_metadata),
            Route("GET", path + "/ready", "v2.model-ready", model_ready, ""),
            Route("POST", path + "/infer", "v2.infer", infer),
        )
    ),
]
