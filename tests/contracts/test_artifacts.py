"""What `make` made: the numbers that the demonstration promises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model import manifest
from model.inputs import to_batch
from model.manifest import MODEL
from model.predictor import Predictor
from pipelines.training import shards
from pipelines.training.dataset import Dataset
from tests.conftest import DEMONSTRATION, ROOT

ARTIFACTS = ROOT / "artifacts"


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return json.loads((ARTIFACTS / "metrics.json").read_text())


def test_the_quantized_model_is_good(metrics: dict[str, Any]) -> None:
    """Accuracy, agreement and size are at least what README says."""
    if any((ROOT / name).read_bytes() != (DEMONSTRATION / name).read_bytes() for name in ("params.yaml", "data.dvc")):
        pytest.skip("these numbers are of the demonstration")
    assert metrics["test"]["sha256"] == Dataset(ARTIFACTS / "dataset").schema.test_sha256
    assert metrics["size"]["quantized"] == (ARTIFACTS / MODEL).stat().st_size
    assert metrics["quantized"]["accuracy"] >= 0.975
    assert metrics["agreement"] >= 0.99
    assert metrics["size"]["ratio"] <= 0.30


def test_from_encoded_image_to_the_recorded_answer(metrics: dict[str, Any]) -> None:
    """The shards' own bytes, sent through the input path and the predictor, give the accuracy that was recorded."""
    dataset = Dataset(ARTIFACTS / "dataset")
    encoded = [row for batch in shards.batches(shards.open_dataset(ROOT / "data"), ["image"]) for row in batch["image"]]
    test = dataset.indices("test")
    predictor = Predictor(ARTIFACTS / MODEL)
    answers = predictor.predict(to_batch([encoded[position].as_py() for position in test], predictor.input_shape))
    assert (answers.argmax(axis=1) == dataset.targets[test]).mean() == pytest.approx(metrics["quantized"]["accuracy"])


def test_the_manifest_holds_for_the_files_beside_it() -> None:
    """Labels, shapes and hashes are those of the files."""
    described = manifest.load(ARTIFACTS)
    predictor = Predictor(ARTIFACTS / MODEL)
    assert predictor.input_shape == described.input_shape
    assert predictor.classes == len(described.labels)
    assert described.data_sha256 == Dataset(ARTIFACTS / "dataset").schema.data_sha256


def test_the_report_is_there() -> None:
    """`make` ends with a page to look at."""
    assert (ROOT / "reports" / "index.html").stat().st_size > 50_000
