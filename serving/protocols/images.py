"""Pictures as people have them: PNG or JPEG bytes, or a form with several; labels and probabilities come back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from model.inputs import InputError, to_batch
from serving.batching import Batcher
from serving.errors import Refused
from serving.protocols import Route
from serving.requests import Answer, Request, as_json

if TYPE_CHECKING:
    from model.predictor import Probabilities
    from serving.app import App

TOP = 3
"""Classes in an answer, when the request does not say `?top=`."""


class Class(msgspec.Struct):
    label: str
    probability: float


class Prediction(msgspec.Struct):
    label: str
    probability: float
    top: list[Class]


class Predictions(msgspec.Struct):
    release: str
    predictions: list[Prediction]


async def predict(app: App, request: Request, version: str) -> Answer:
    top = request.number("top", TOP)
    batcher = app.deployment.choose(version)
    pictures = _pictures(request)
    if len(pictures) > app.settings.max_images:
        raise Refused(400, f"{len(pictures)} images: send at most {app.settings.max_images} in a request")
    answers = await classify(app, batcher, pictures)
    labels = batcher.release.labels
    return as_json(
        Predictions(batcher.release.name, [_prediction(row, labels, top) for row in answers]), batcher.release.name
    )


async def classify(app: App, batcher: Batcher, pictures: list[bytes]) -> Probabilities:
    """Decode in a thread, because a large photograph takes a tenth of a second, and infer. Raises Refused."""
    shape = batcher.release.predictor.input_shape
    loop = asyncio.get_running_loop()
    try:
        pixels = await loop.run_in_executor(app.decoders, to_batch, pictures, shape, app.settings.max_pixels)
    except InputError as error:
        raise Refused(400, str(error)) from None
    return await app.deployment.submit(batcher, pixels)


def _pictures(request: Request) -> list[bytes]:
    if not request.body:
        raise Refused(400, "the body is empty: send a PNG or JPEG, or a form with some")
    if request.media_type != "multipart/form-data":
        return [request.body]
    boundary = parse_options_header(request.headers[b"content-type"])[1].get(b"boundary")
    if not boundary:
        raise Refused(400, "the multipart form names no boundary")
    files: list[bytes] = []

    def keep(file: object) -> None:
        file.file_object.seek(0)  # type: ignore[attr-defined]
        files.append(file.file_object.read())  # type: ignore[attr-defined]

    size = len(request.body)
    parser = FormParser(
        "multipart/form-data",
        None,
        keep,
        boundary=boundary,
        config={"MAX_MEMORY_FILE_SIZE": size, "MAX_BODY_SIZE": size},
    )
    try:
        parser.write(request.body)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, f"the multipart form is damaged: {error}") from None
    if not files:
        raise Refused(400, "the form holds no file: curl -F image=@picture.jpg")
    return files


def _prediction(row: Probabilities, labels: tuple[str, ...], top: int) -> Prediction:
    order = np.argsort(-row, kind="stable")
    best = [Class(labels[position], float(row[position])) for position in order[: max(top, 1)]]
    return Prediction(best[0].label, best[0].probability, best[:top])


ROUTES = [Route("POST", "/v1/predict", "images.predict", predict)]
