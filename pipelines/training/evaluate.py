"""Stage `evaluate`: the files that ship, run as production runs them, on the test set.

dvc repro evaluate
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model import manifest, statistics
from model.manifest import FLOAT_MODEL, MODEL
from model.predictor import Predictor, Probabilities
from pipelines import params
from pipelines.command import atomic, run
from pipelines.training import behaviour, metrics, plots, slices, split, studies
from pipelines.training.behaviour import Predict
from pipelines.training.dataset import ANSWERS, ARTIFACTS, BEHAVIOUR, PREDICTIONS, Dataset


def evaluate(dataset: Dataset, folder: Path, settings: params.Params) -> dict[str, Any]:
    """Write predictions, plots, metrics and reference statistics of the model in a folder, and return the metrics.

    Raises ManifestError when the files are not those that their manifest describes.
    """
    chosen = settings.evaluate
    labels = manifest.load(folder).labels
    indices = dataset.indices(split.TEST)
    targets = dataset.targets[indices]
    predictor = Predictor(folder / MODEL)
    quantized = predict_all(predictor.predict, dataset, indices)
    reference = predict_all(Predictor(folder / FLOAT_MODEL).predict, dataset, indices)
    predicted = quantized.argmax(axis=1)
    positions = behaviour.part(dataset, chosen.behaviour)
    held = behaviour.observe(predictor.predict, dataset, positions, chosen.behaviour)
    sizes = {name: (folder / name).stat().st_size for name in (MODEL, FLOAT_MODEL)}
    result = {
        "quantized": metrics.scores(targets, quantized, chosen.confidence, chosen.calibration_bins),
        "float": metrics.scores(targets, reference, chosen.confidence, chosen.calibration_bins),
        "agreement": float(np.mean(predicted == reference.argmax(axis=1))),
        "size": {"quantized": sizes[MODEL], "float": sizes[FLOAT_MODEL], "ratio": sizes[MODEL] / sizes[FLOAT_MODEL]},
        "test": {"examples": len(targets), "sha256": dataset.schema.test_sha256, "confidence": chosen.confidence},
        "baselines": studies.baselines(dataset, chosen.confidence),
        "behaviour": _behaviour(held, chosen.confidence),
        "classes": metrics.per_class(targets, predicted, labels),
        "slices": _slices(dataset.examples.take(pa.array(indices)), predicted == targets, chosen.confidence),
    }
    write_table(predictions(dataset, indices, quantized, reference), folder / PREDICTIONS)
    write_table(held, folder / BEHAVIOUR)
    with atomic(folder / statistics.NAME) as path:
        path.write_bytes(statistics.encode(statistics.refer(dataset.batches(indices), quantized, labels)))
    _write_plots(dataset, folder, indices, quantized, chosen)
    with atomic(folder / "metrics.json") as path:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return result


def predict_all(predict: Predict, dataset: Dataset, indices: NDArray[np.int64]) -> Probabilities:
    return np.concatenate([predict(images) for images in dataset.batches(indices)])


def predictions(
    dataset: Dataset, indices: NDArray[np.int64], quantized: Probabilities, reference: Probabilities
) -> pa.Table:
    """Return some examples' rows with both models' probabilities, for the paired comparison of a review."""
    table = dataset.examples.take(pa.array(indices)).drop_columns(["split"])
    for name, probabilities in zip(ANSWERS, (quantized, reference), strict=True):
        column = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), probabilities.shape[1])
        table = table.append_column(name, column)
    return table


def write_table(table: pa.Table, path: Path) -> None:
    with atomic(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def _behaviour(held: pa.Table, confidence: float) -> dict[str, dict[str, metrics.Accuracy]]:
    found: dict[str, dict[str, metrics.Accuracy]] = {}
    for column in held.column_names[1:]:
        kind, name = column.split("/")
        found.setdefault(kind, {})[name] = metrics.accuracy(held.column(column).to_numpy(), confidence)
    return found


def _slices(
    examples: pa.Table, correct: NDArray[np.bool_], confidence: float
) -> dict[str, dict[str, metrics.Accuracy]]:
    return {
        column: {value: metrics.accuracy(correct[values == value], confidence) for value in np.unique(values).tolist()}
        for column, values in slices.groups(examples).items()
    }


def _write_plots(
    dataset: Dataset,
    folder: Path,
    indices: NDArray[np.int64],
    quantized: Probabilities,
    settings: params.Evaluate,
) -> None:
    target = folder / "plots"
    target.mkdir(exist_ok=True)
    labels, targets = dataset.schema.labels, dataset.targets[indices]
    names = np.array(labels)
    rows = metrics.reliability(targets, metrics.normalize(quantized), settings.calibration_bins)
    pa.csv.write_csv(
        pa.table({"actual": names[targets], "predicted": names[quantized.argmax(axis=1)]}), target / "confusion.csv"
    )
    pa.csv.write_csv(pa.Table.from_pylist(rows), target / "reliability.csv")
    plots.confusion(targets, quantized.argmax(axis=1), labels, target / "confusion.svg")
    plots.reliability(rows, target / "reliability.svg")
    plots.learning_curves(pa.csv.read_csv(folder / "history.csv").to_pydict(), target / "learning_curves.svg")
    plots.mistakes(dataset.images, indices, targets, quantized, labels, target / "mistakes.png")


def main() -> None:
    settings = params.load()
    result = evaluate(Dataset(), ARTIFACTS, settings)
    found = result["quantized"]
    print(
        f"evaluate: accuracy {found.accuracy:.4f} ({found.accuracy_low:.4f} to {found.accuracy_high:.4f} at "
        f"{settings.evaluate.confidence:.0%} confidence), agreement with float32 {result['agreement']:.4f}"
    )


if __name__ == "__main__":
    run(main)
