"""TensorFlow Serving's REST API: predict in row and column format, metadata, status.

Specification: https://www.tensorflow.org/tfx/serving/api_rest. Versions there are numbers; here they are releases, and
the labels `stable` and `canary` are known too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from serving import tensors
from serving.errors import Refused
from serving.protocols import Route
from serving.requests import Answer, Request, as_json
from serving.tensors import INPUT, OUTPUT, Grey, Row

if TYPE_CHECKING:
    from serving.app import App

SIGNATURE = "serving_default"
Data = TypeVar("Data")
Instance = TypeVar("Instance")
Column = TypeVar("Column")


class Named(msgspec.Struct, Generic[Data]):
    images: Data


class Predict(msgspec.Struct, Generic[Instance, Column]):
    """Row format has `instances`, an image each; column format has `inputs`, all images."""

    instances: list[Instance] | None = None
    inputs: Column | None = None
    signature_name: str = SIGNATURE


FORMS = (
    Predict[Row, list[Row]],
    Predict[Grey, list[Grey]],
    Predict[Named[Row], Named[list[Row]]],
    Predict[Named[Grey], Named[list[Grey]]],
)


async def predict(app: App, request: Request, version: str) -> Answer:
    asked: Predict[Any, Any] = tensors.decode(request.body, *FORMS)
    if asked.signature_name != SIGNATURE:
        raise Refused(400, f"signature_name {asked.signature_name[:40]!r}: the model has {SIGNATURE!r} alone")
    if (asked.instances is None) == (asked.inputs is None):
        raise Refused(400, "send either instances (row format) or inputs (column format)")
    batcher = app.deployment.choose(version)
    array = tensors.from_nested(_plain(asked.inputs if asked.instances is None else asked.instances))
    pixels = tensors.batch(array, batcher.release.predictor.input_shape, app.settings.max_images)
    answers = await app.deployment.submit(batcher, pixels)
    key = "outputs" if asked.instances is None else "predictions"
    return as_json({key: answers.tolist()}, batcher.release.name, probabilities=answers)


def _plain(given: Any) -> Any:  # noqa: ANN401 (one of the forms above)
    if isinstance(given, Named):
        return given.images
    return [one.images if isinstance(one, Named) else one for one in given]


async def status(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001 (as every handler)
    names = [app.deployment.choose(version).release.name] if version else app.deployment.versions()
    fine = {"error_code": "OK", "error_message": ""}
    return as_json(
        {"model_version_status": [{"version": name, "state": "AVAILABLE", "status": fine} for name in names]}
    )


async def metadata(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001
    release = app.deployment.choose(version or "stable").release
    definition = {
        "inputs": {INPUT: _tensor("DT_UINT8", release.manifest.input_shape)},
        "outputs": {OUTPUT: _tensor("DT_FLOAT", (len(release.labels),))},
        "method_name": "tensorflow/serving/predict",
    }
    return as_json(
        {
            "model_spec": {"name": app.settings.model_name, "signature_name": "", "version": release.name},
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: definition}}},
        },
        release.name,
    )


def _tensor(kind: str, shape: tuple[int, ...]) -> dict[str, object]:
    sides = [{"size": str(side), "name": ""} for side in (-1, *shape)]
    return {"dtype": kind, "tensor_shape": {"dim": sides, "unknown_rank": False}}


_MODEL = "/v1/models/{model}"
ROUTES = [
    route
    for path in (_MODEL, _MODEL + "/versions/{version}", _MODEL + "/labels/{version}")
    for route in (
        Route("GET", path, "tensorflow.status", status),
        Route("GET", path + "/metadata", "tensorflow.metadata", metadata),
        Route("POST", path + ":predict", "tensorflow.predict", predict),
    )
]
