"""TensorFlow Serving's REST API, as its documentation has it."""

from __future__ import annotations

import numpy as np
import pytest

from model.inputs import Pixels
from model.predictor import Probabilities
from tests.serving.conftest import Server

PREDICT = "/v1/models/classifier:predict"


@pytest.mark.parametrize("grey", [False, True])
def test_row_and_column_format(server: Server, images: Pixels, answers: Probabilities, grey: bool) -> None:
    """Both, with and without the input's name and the signature, give the predictor's answers bit for bit."""
    data = (images[..., 0] if grey else images).tolist()
    rows = [{"instances": data}, {"instances": [{"images": one} for one in data]}]
    columns = [{"inputs": data}, {"inputs": {"images": data}}]
    for body, key in [*((row, "predictions") for row in rows), *((column, "outputs") for column in columns)]:
        answer = server.json("POST", PREDICT, body | {"signature_name": "serving_default"})
        assert list(answer) == [key]
        assert (np.array(answer[key], np.float32) == answers).all()


def test_versions_and_labels(server: Server, images: Pixels) -> None:
    """A version is a release's name; `stable` is a label."""
    body = {"instances": images[:1].tolist()}
    (version,) = server.json("GET", "/v1/models/classifier")["model_version_status"]
    assert version["state"] == "AVAILABLE"
    assert server.json("POST", f"/v1/models/classifier/versions/{version['version']}:predict", body)
    assert server.json("POST", "/v1/models/classifier/labels/stable:predict", body)
    assert "v7" in server.error("/v1/models/classifier/versions/v7:predict", body, 404)


def test_metadata(server: Server) -> None:
    """The signature names the input and the output with their shapes."""
    described = server.json("GET", "/v1/models/classifier/metadata")["metadata"]["signature_def"]["signature_def"]
    definition = described["serving_default"]
    assert definition["inputs"]["images"]["dtype"] == "DT_UINT8"
    assert [side["size"] for side in definition["inputs"]["images"]["tensor_shape"]["dim"]] == ["-1", "12", "12", "1"]
    assert definition["outputs"]["probabilities"]["dtype"] == "DT_FLOAT"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "either instances (row format) or inputs (column format)"),
        ({"instances": [], "inputs": []}, "either instances"),
        ({"instances": []}, "expected uint8 [n, 12, 12, 1]"),
        ({"instances": 3}, "Expected `array | null`, got `int`"),
        ({"instances": [[[1.5]]]}, "Expected"),
        ({"instances": [[[300] * 12] * 12]}, "from 0 to 255"),
        ({"instances": [[[10**25] * 12] * 12]}, "0 to 255"),
        ({"instances": [[[0] * 12] * 12, [[0]]]}, "ragged"),
        ({"instances": [[[0] * 9] * 9]}, "expected uint8 [n, 12, 12, 1]"),
        ({"instances": [[[0] * 12] * 12], "signature_name": "x"}, "'serving_default' alone"),
        (b"{", "not JSON"),
    ],
)
def test_bad_requests(server: Server, body: object, said: str) -> None:
    """Status 400 and an object with the reason."""
    assert said in server.error(PREDICT, body)
