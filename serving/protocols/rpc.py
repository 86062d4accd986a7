"""Open Inference Protocol v2 over gRPC, by grpc.aio in the worker's event loop; workers share the port."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio
import numpy as np
from google.protobuf.message import DecodeError

from model.predictor import Probabilities
from serving import correlation, tensors, tls
from serving.access import Record
from serving.app import FAILED, App
from serving.config import Settings
from serving.correlation import CHOSEN
from serving.errors import Refused, ServingError
from serving.protocols import open_inference
from serving.protocols import open_inference_pb2 as pb
from serving.tensors import INPUT, OUTPUT

SERVICE = "inference.GRPCInferenceService"
LARGEST_TYPED = 2
"""Bytes of a pixel in a message: typed contents are varints."""
OVERHEAD = 4 * 2**20
"""Bytes that any message may have, as is gRPC's default."""
MOST_SAID = 500
"""Characters of a message: it travels in a header."""
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

_Reply = tuple[Any, str, Probabilities | None]
"""A message, the release that gave it, and what the model said."""


class _Method(NamedTuple):
    """What answers a message with another, and the scope that a client needs."""

    answer: Callable[[App, Any], Awaitable[_Reply]]
    scope: str
    request: Any
    response: Any


async def start(app: App, settings: Settings, port: int) -> grpc.aio.Server:
    """Return a server that listens. Raises ServingError when it cannot."""
    pixels = settings.max_images * math.prod(app.deployment.stable.release.manifest.input_shape)
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),
            # Parsed messages can be far larger than their bytes, so these may have no more than images need.
            ("grpc.max_receive_message_length", min(settings.max_body, LARGEST_TYPED * pixels + OVERHEAD)),
            ("grpc.max_metadata_size", settings.max_header),
            ("grpc.max_concurrent_streams", settings.queue),
            ("grpc.max_connection_idle_ms", int(settings.keep_alive * 1000)),
        ],
        maximum_concurrent_rpcs=settings.queue,
    )
    handlers = {name: _handler(app, name, method) for name, method in _METHODS.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    address = f"[{settings.host}]:{port}" if ":" in settings.host else f"{settings.host}:{port}"
    try:
        if settings.tls_certificate:
            key, chain, ca = tls.grpc_files(settings)
            credentials = grpc.ssl_server_credentials([(key, chain)], ca, require_client_auth=ca is not None)
            server.add_secure_port(address, credentials)
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise ServingError(f"SLIPWAY_GRPC_PORT={port}: {error}") from error
    await server.start()
    return server


def _handler(app: App, name: str, method: _Method) -> Any:  # noqa: ANN401 (grpc has no types)
    """Return a handler that knows who asks before it reads, and reads no longer than HTTP does.

    So it is declared as taking a stream, which for one message is the same on the wire.
    """
    endpoint = f"grpc.{name}"

    async def answer(messages: Any, context: Any) -> Any:  # noqa: ANN401, ARG001 (grpc has no types)
        started = time.perf_counter()
        app.in_flight += 1
        code, said, release, client, size, answers = grpc.StatusCode.OK, "", "", "", 0, None
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        request_id = correlation.request_id(metadata.get("x-request-id", "").encode())
        parent = correlation.parent(metadata.get("traceparent", "").encode())
        trail = app.follow(parent)
        CHOSEN.set("")
        context.set_trailing_metadata((("x-request-id", request_id.decode()),))
        try:
            authorization = metadata.get("authorization")
            address = _address(context) if app.counts_by_address else ""
            client = app.identify(method.scope, authorization.encode() if authorization else None, address)
            async with asyncio.timeout(app.settings.read_timeout):
                message = await context.read()
            if message is grpc.aio.EOF:
                raise Refused(400, "there is no message")  # noqa: TRY301 (answered as any other)
            size = len(message)
            reply, release, answers = await method.answer(app, method.request.FromString(message))
        except Refused as refused:
            code, said = _CODES.get(refused.status, grpc.StatusCode.INVALID_ARGUMENT), refused.message
        except DecodeError:
            code, said = grpc.StatusCode.INVALID_ARGUMENT, f"this is no {method.request.DESCRIPTOR.name}"
        except TimeoutError:
            code, said = grpc.StatusCode.DEADLINE_EXCEEDED, "the request took too long to arrive"
        except Exception as error:  # noqa: BLE001 (whatever it is, the client gets a status and the log the reason)
            app.failed(error, request_id)
            code, said = grpc.StatusCode.INTERNAL, FAILED.message
        finally:
            app.in_flight -= 1
        release = release or CHOSEN.get()
        app.telemetry.remember(
            Record(
                time=started,
                endpoint=endpoint,
                method="POST",
                path=f"/{SERVICE}/{name}",
                code=code.name,
                release=release,
                duration=time.perf_counter() - started,
                size=size,
                client=client if app.authenticator else "",
                label=answers,
                request_id=request_id.decode(),
                trace=parent.trace if parent else "",
                span=parent.span if parent else "",
                trail=trail,
            )
        )
        if code is not grpc.StatusCode.OK:
            await context.abort(code, said[:MOST_SAID])
        return reply

    return grpc.stream_unary_rpc_method_handler(answer, None, method.response.SerializeToString)


def _address(context: Any) -> str:  # noqa: ANN401 (grpc has no types)
    """Return a client's address as HTTP knows it: `ipv4:192.0.2.1:1234` without kind and port."""
    return str(context.peer()).partition(":")[2].rpartition(":")[0].strip("[]")


async def _infer(app: App, asked: Any) -> _Reply:  # noqa: ANN401 (a generated class)
    _check_name(app, asked.model_name)
    batcher = app.deployment.choose(asked.model_version)
    if len(asked.inputs) != 1:
        raise Refused(400, f"{len(asked.inputs)} inputs: the model takes one, {INPUT!r}")
    (given,) = asked.inputs
    open_inference.check(given.name, given.datatype)
    for output in asked.outputs:
        open_inference.check_output(output.name)
    raw = asked.raw_input_contents
    if raw:
        if len(raw) != 1 or given.HasField("contents"):
            raise Refused(400, "send the pixels once: as contents or as raw_input_contents")
        array = tensors.shaped(np.frombuffer(raw[0], np.uint8), given.shape)
    else:
        array = tensors.from_flat(given.contents.uint_contents, given.shape)
    pixels = tensors.batch(array, batcher.release.predictor.input_shape, app.settings.max_images)
    answers = await app.deployment.submit(batcher, pixels)
    output = pb.ModelInferResponse.InferOutputTensor(name=OUTPUT, datatype="FP32", shape=answers.shape)
    name = batcher.release.name
    reply = pb.ModelInferResponse(model_name=asked.model_name, model_version=name, id=asked.id, outputs=[output])
    if raw:
        reply.raw_output_contents.append(answers.tobytes())
    else:
        reply.outputs[0].contents.fp32_contents.extend(answers.ravel())
    return reply, name, answers


def _check_name(app: App, name: str) -> None:
    if name != app.settings.model_name:
        raise Refused(404, f"no model {name[:40]!r}: it is {app.settings.model_name!r}")


async def _server_live(app: App, asked: Any) -> _Reply:  # noqa: ANN401, ARG001
    return pb.ServerLiveResponse(live=True), "", None


async def _server_ready(app: App, asked: Any) -> _Reply:  # noqa: ANN401, ARG001
    return pb.ServerReadyResponse(ready=app.ready), "", None


async def _model_ready(app: App, asked: Any) -> _Reply:  # noqa: ANN401
    _check_name(app, asked.name)
    return pb.ModelReadyResponse(ready=app.ready), app.deployment.choose(asked.version).release.name, None


async def _server_metadata(app: App, asked: Any) -> _Reply:  # noqa: ANN401, ARG001
    return pb.ServerMetadataResponse(**open_inference.SERVER), "", None


async def _model_metadata(app: App, asked: Any) -> _Reply:  # noqa: ANN401
    _check_name(app, asked.name)
    release = app.deployment.choose(asked.version or "stable").release
    return pb.ModelMetadataResponse(**open_inference.describe(app, release)), release.name, None


_METHODS = {
    "ServerLive": _Method(_server_live, "", pb.ServerLiveRequest, pb.ServerLiveResponse),
    "ServerReady": _Method(_server_ready, "", pb.ServerReadyRequest, pb.ServerReadyResponse),
    "ModelReady": _Method(_model_ready, "", pb.ModelReadyRequest, pb.ModelReadyResponse),
    "ServerMetadata": _Method(_server_metadata, "predict", pb.ServerMetadataRequest, pb.ServerMetadataResponse),
    "ModelMetadata": _Method(_model_metadata, "predict", pb.ModelMetadataRequest, pb.ModelMetadataResponse),
    "ModelInfer": _Method(_infer, "predict", pb.ModelInferRequest, pb.ModelInferResponse),
}
