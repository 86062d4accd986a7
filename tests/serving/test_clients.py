"""Clients that people have, unchanged, on the whole test set: every protocol gives the predictor's answers."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model import manifest
from model.inputs import Pixels
from model.manifest import MODEL
from model.predictor import Predictor, Probabilities
from pipelines.training.dataset import ANSWERS, PREDICTIONS, Dataset
from tests.conftest import ROOT, encode
from tests.serving.conftest import Server, _end, start

ARTIFACTS = ROOT / "artifacts"
SCRIPT = Path(__file__).with_name("clients.py")


@pytest.fixture(scope="module")
def images() -> Pixels:
    """The pictures of the test set."""
    dataset = Dataset(ARTIFACTS / "dataset")
    return np.ascontiguousarray(dataset.images[dataset.indices("test")])


@pytest.fixture(scope="module")
def expected(images: Pixels) -> Probabilities:
    return Predictor(ARTIFACTS / MODEL).predict(images)


@pytest.fixture(scope="module", params=[0, 2], ids=["loop", "threads"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the model that `make` made."""
    running = start(tmp_path_factory.mktemp("server"), ARTIFACTS, threads=request.param)
    try:
        running.wait()
        yield running
    finally:
        _end(running)


@pytest.mark.parametrize("name", ["tritonclient-http", "tritonclient-http-json", "tritonclient-grpc", "kserve-rest"])
def test_clients_of_other_servers(
    server: Server, images: Pixels, expected: Probabilities, tmp_path: Path, name: str
) -> None:
    """Triton's, with binary data, its default, with JSON and over gRPC; KServe's."""
    np.save(tmp_path / "images.npy", images)
    uv = next(path for path in (ROOT / ".tools" / "uv", ROOT / ".venv" / "bin" / "uv") if path.exists())
    command = [uv, "run", "--quiet", "--locked", "--python", sys.executable, "--script", SCRIPT, name, server.url]
    command += [f"127.0.0.1:{server.ports['grpc.port']}", tmp_path / "images.npy", tmp_path / "answers.npy"]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(command, check=True, env=environment)
    assert (np.load(tmp_path / "answers.npy") == expected).all()


def test_every_address_agrees_with_the_predictor(server: Server, images: Pixels, expected: Probabilities) -> None:
    """TensorFlow Serving's rows, SageMaker's JSON and npy, and pictures one by one."""
    answer = server.json("POST", "/v1/models/classifier:predict", {"instances": images.tolist()})
    assert (np.array(answer["predictions"], np.float32) == expected).all()
    buffer = io.BytesIO()
    np.save(buffer, images)
    npy = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    status, _, body = server.ask("POST", "/invocations", buffer.getvalue(), npy)
    assert status == 200
    assert (np.load(io.BytesIO(body)) == expected).all()
    labels = manifest.load(ARTIFACTS).labels
    for one, probabilities in zip(images, expected, strict=True):
        picture = Image.fromarray(one[..., 0] if one.shape[-1] == 1 else one)
        found = server.json("POST", f"/v1/predict?top={len(labels)}", encode(picture))["predictions"][0]
        by_label = {entry["label"]: np.float32(entry["probability"]) for entry in found["top"]}
        assert [by_label[label] for label in labels] == list(probabilities)


def test_answers_are_those_that_evaluate_recorded(expected: Probabilities) -> None:
    """What was judged is what is served."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (slow)

    recorded = pq.read_table(ARTIFACTS / PREDICTIONS, columns=[ANSWERS[0]])[ANSWERS[0]]
    found = np.array(recorded.to_pylist(), np.float32)
    assert found.shape == expected.shape
    assert (found == expected).all()
