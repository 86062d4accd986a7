"""Pictures as people have them: PNG or JPEG bytes, or a form with several; labels and probabilities come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

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
    release = batcher.release
    answers = await classify(app, batcher, _pictures(request, app.settings.max_images))
    predictions = [_prediction(row, release.labels, top) for row in answers]
    return as_json(Predictions(release.name, predictions), release.name, probabilities=answers)


async def classify(app: App, batcher: Batcher, pictures: list[bytes]) -> Probabilities:
    """Return the probabilities of encoded pictures. Raises Refused."""
    pixels = await app.decoders.decode(pictures, batcher.release.predictor.input_shape)
    return await app.deployment.submit(batcher, pixels)


def _pictures(request: Request, most: int) -> list[bytes]:
    if not request.body:
        raise Refused(400, "the body is empty: send a PNG or JPEG, or a form with some")
    if request.media_type != "multipart/form-data":
        return [request.body]
    boundary = parse_options_header(request.headers[b"content-type"])[1].get(b"boundary")
    if not boundary:
        raise Refused(400, "the multipart form names no boundary")
    if request.body.count(b"--" + boundary) > 2 * most:
        raise Refused(400, f"more than {2 * most} parts: send at most {most} images in a request")
    files: list[bytes] = []

    def keep(file: Any) -> None:  # noqa: ANN401 (the parser's class has no types)
        file.file_object.seek(0)
        files.append(file.file_object.read())

    try:
        config = {"MAX_MEMORY_FILE_SIZE": len(request.body), "MAX_BODY_SIZE": len(request.body)}
        parser = FormParser("multipart/form-data", None, keep, boundary=boundary, config=config)
        parser.write(request.body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refused(400, f"the multipart form is damaged: {str(error)[:200]}") from None
    if not 0 < len(files) <= most:
        raise Refused(
            400, f"the form holds {len(files)} files: send from 1 to {most}, as curl -F image=@picture.jpg does"
        )
    return files


def _prediction(row: Probabilities, labels: tuple[str, ...], top: int) -> Prediction:
    order = np.argsort(-row, kind="stable")
    best = [Class(labels[position], float(row[position])) for position in order[: max(top, 1)]]
    return Prediction(best[0].label, best[0].probability, best[:top])


ROUTES = [Route("POST", "/v1/predict", "images.predict", predict)]
