"""pipelines.training.evaluate: what is written is what the files that ship answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from model import statistics
from model.manifest import FLOAT_MODEL, MODEL, ManifestError
from model.predictor import Predictor
from pipelines import params
from pipelines.training import plots, studies
from pipelines.training.dataset import Dataset
from pipelines.training.evaluate import evaluate
from tests.conftest import DEMONSTRATION, quick

SETTINGS = quick(params.load(DEMONSTRATION / "params.yaml"))


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "artifacts"
    shutil.copytree(trained, folder)
    evaluate(Dataset(folder / "dataset"), folder, SETTINGS)
    return folder


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def test_predictions_are_the_predictors(evaluated: Path) -> None:
    """The recorded probabilities are, bit for bit, what each file answers, beside each example's id and label."""
    dataset = Dataset(evaluated / "dataset")
    test = dataset.indices("test")
    table = pq.read_table(evaluated / "predictions.parquet")
    for column, name in (("quantized", MODEL), ("float", FLOAT_MODEL)):
        recorded = np.stack(table[column].to_numpy(zero_copy_only=False))
        batches = [Predictor(evaluated / name).predict(images) for images in dataset.batches(test)]
        assert np.array_equal(recorded, np.concatenate(batches))
    assert table["id"].to_pylist() == dataset.examples["id"].take(test).to_pylist()
    assert table["label"].to_pylist() == [dataset.schema.labels[target] for target in dataset.targets[test]]


def test_the_reference_is_what_the_server_will_count(evaluated: Path) -> None:
    """It has every test example once, and the answers are those of the file that ships."""
    dataset = Dataset(evaluated / "dataset")
    test = dataset.indices("test")
    found = statistics.load(evaluated)
    assert found
    assert {sum(feature.counts) for feature in found.features.values()} == {len(test)}
    answers = np.concatenate([Predictor(evaluated / MODEL).predict(images) for images in dataset.batches(test)])
    labels = dataset.schema.labels
    assert found.answers == dict(zip(labels, np.bincount(answers.argmax(axis=1), minlength=10).tolist(), strict=True))


def test_metrics_follow_from_the_predictions(evaluated: Path) -> None:
    """Accuracy, agreement, classes and sizes can be worked out again from what lies beside them."""
    found = read(evaluated)
    table = pq.read_table(evaluated / "predictions.parquet")
    labels = np.array(Dataset(evaluated / "dataset").schema.labels)
    answers = {
        name: labels[np.stack(table[name].to_numpy(zero_copy_only=False)).argmax(axis=1)]
        for name in ("quantized", "float")
    }
    actual = np.array(table["label"].to_pylist())
    for name, answer in answers.items():
        assert found[name]["accuracy"] == pytest.approx(float(np.mean(answer == actual)))
    assert found["agreement"] == pytest.approx(float(np.mean(answers["quantized"] == answers["float"])))
    assert found["classes"]["3"]["recall"] == pytest.approx(float(np.mean(answers["quantized"][actual == "3"] == "3")))
    assert found["size"]["quantized"] == (evaluated / MODEL).stat().st_size
    assert found["test"]["examples"] == len(actual)
    held = pq.read_table(evaluated / "behaviour.parquet")
    for column in held.column_names[1:]:
        kind, name = column.split("/")
        assert found["behaviour"][kind][name]["accuracy"] == pytest.approx(np.mean(held[column].to_numpy())), column
    assert set(found["behaviour"]) == {"robustness", "invariance", "direction"}


def test_the_model_beats_the_baselines(evaluated: Path) -> None:
    """Three epochs already beat guessing; the most frequent class has the share that it has."""
    found = read(evaluated)
    actual = pq.read_table(evaluated / "predictions.parquet")["label"].to_pylist()
    assert (
        max(actual.count(label) for label in set(actual)) / len(actual)
        >= found["baselines"]["most_frequent"]["accuracy"]
    )
    assert found["quantized"]["accuracy"] > found["baselines"]["most_frequent"]["accuracy"] + 0.3
    assert found["baselines"]["logistic_regression"]["accuracy"] > 0.9


def test_the_same_model_gives_the_same_bytes(evaluated: Path, tmp_path: Path) -> None:
    """Evaluating again is byte-identical, pictures too."""
    again = tmp_path / "again"
    shutil.copytree(evaluated, again)
    for path in (again / "metrics.json", again / "predictions.parquet", again / "behaviour.parquet"):
        path.unlink()
    shutil.rmtree(again / "plots")
    evaluate(Dataset(again / "dataset"), again, SETTINGS)
    for path in sorted(evaluated.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(evaluated)).read_bytes(), path.name


def test_a_file_that_is_not_the_manifests_is_refused(trained: Path, tmp_path: Path) -> None:
    """A model that was swapped after quantization is not evaluated."""
    shutil.copytree(trained, tmp_path / "artifacts")
    (tmp_path / "artifacts" / MODEL).write_bytes((trained / FLOAT_MODEL).read_bytes())
    with pytest.raises(ManifestError, match=r"model\.tflite is not the file"):
        evaluate(Dataset(trained / "dataset"), tmp_path / "artifacts", SETTINGS)


def test_pictures_can_be_opened(evaluated: Path) -> None:
    """Each plot is there, and the contact sheet is a picture of some size."""
    names = {path.name for path in (evaluated / "plots").iterdir()}
    assert "mathdefault" not in (evaluated / "plots" / "learning_curves.svg").read_text()
    assert {"confusion.svg", "reliability.svg", "learning_curves.svg", "mistakes.png", "confusion.csv"} <= names
    with Image.open(evaluated / "plots" / "mistakes.png") as sheet:
        assert sheet.width > 500
        assert len(set(sheet.convert("L").tobytes())) > 20


def test_rare_classes_are_in_the_baselines(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few images the simple models see, each class is among them."""
    monkeypatch.setattr(studies, "SEEN", 12)
    dataset = Dataset(trained / "dataset")
    training = dataset.indices("train")
    seen = studies.spread_by_class(training, dataset.targets[training])
    assert set(dataset.targets[seen]) == set(range(10))
    assert len(seen) <= 22


def test_labels_of_any_kind_can_be_drawn(tmp_path: Path) -> None:
    """Dollar signs, markup and long names are text in a picture."""
    labels = [r"$\\bad$", "<b>&", "x" * 200, "100%"]
    targets = np.arange(4)
    answers = np.roll(np.eye(4, dtype=np.float32), 1, axis=0)
    plots.confusion(targets, answers.argmax(axis=1), labels, tmp_path / "confusion.svg")
    images = np.zeros((4, 8, 8, 3), np.uint8)
    plots.mistakes(images, targets, targets, answers, labels, tmp_path / "mistakes.png")
    assert "&lt;b&gt;&amp;" in (tmp_path / "confusion.svg").read_text()
