"""Models to compare: trained in seconds, changed on purpose."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model import manifest
from model.manifest import FLOAT_MODEL, MODEL
from pipelines import params
from pipelines.review import gate, outcomes
from pipelines.review.baseline import HISTORY, Incumbent
from pipelines.review.candidate import Candidate
from pipelines.review.lock import File, Lock, Stage
from pipelines.training.dataset import EXAMPLES, PREDICTIONS, Dataset
from pipelines.training.evaluate import evaluate
from pipelines.training.quantize import Convert, convert, quantize
from pipelines.training.train import train
from tests.conftest import DEMONSTRATION, quick

replace = msgspec.structs.replace
FILES = ("model.weights.h5", "history.csv", MODEL, FLOAT_MODEL, manifest.NAME)


def _settings() -> params.Params:
    """The demonstration's, for small pictures and with floors that leave the comparisons to decide."""
    chosen = quick(params.load(DEMONSTRATION / "params.yaml"))
    limits = chosen.gate.metrics
    return replace(
        chosen,
        train=replace(chosen.train, epochs=12),
        quantize=replace(chosen.quantize, min_agreement=0.01),
        gate=replace(
            chosen.gate,
            metrics=replace(
                limits,
                accuracy=replace(limits.accuracy, floor=0.1),
                macro_f1=replace(limits.macro_f1, floor=0.1),
                log_loss=replace(limits.log_loss, ceiling=9.0),
                calibration_error=replace(limits.calibration_error, ceiling=0.9),
            ),
            slices=replace(chosen.gate.slices, floor=0.0),
            robustness=replace(chosen.gate.robustness, floor=0.0),
            invariance=replace(chosen.gate.invariance, floor=0.0),
            direction=replace(chosen.gate.direction, floor=0.0),
        ),
    )


SETTINGS = _settings()


def retrain(source: Path, folder: Path, settings: params.Params = SETTINGS, convert: Convert = convert) -> Path:
    """Train, convert and evaluate on the data set of `source`, and return a folder like artifacts/."""
    dataset = Dataset(folder / "dataset")
    if not dataset.folder.exists():
        shutil.copytree(source / "dataset", dataset.folder)
    train(dataset, settings.train, folder / "model.weights.h5", folder / "history.csv")
    return reconvert(folder, folder, settings, convert)


def reconvert(source: Path, folder: Path, settings: params.Params = SETTINGS, convert: Convert = convert) -> Path:
    """Convert and evaluate the weights of `source`."""
    if folder != source:
        shutil.copytree(source, folder)
    dataset = Dataset(folder / "dataset")
    quantize(dataset, folder / "model.weights.h5", folder, settings, convert)
    evaluate(dataset, folder, settings)
    return folder


def relabel(folder: Path, label: str, other: str, share: float) -> None:
    """Give a share of the training examples of one label another."""
    path = folder / "dataset" / EXAMPLES
    table = pq.read_table(path)
    labels = np.array(table["label"].to_pylist(), object)
    rows = np.flatnonzero((labels == label) & (np.array(table["split"].to_pylist()) == "train"))
    labels[rows[: round(share * len(rows))]] = other
    pq.write_table(table.set_column(table.column_names.index("label"), "label", pa.array(labels.tolist())), path)


def candidate(folder: Path) -> Candidate:
    labels = manifest.load(folder)
    return Candidate(folder, Lock(), Dataset(folder / "dataset"), labels, outcomes.examples(folder / PREDICTIONS))


def incumbent(folder: Path) -> Incumbent:
    """All of its files are there: none is fetched."""
    made = [File(f"artifacts/{name}", "0") for name in (HISTORY, PREDICTIONS)]
    return Incumbent("main", "0" * 40, Lock({"train": Stage(outs=made)}), folder)


def judge(folder: Path, before: Path, settings: params.Params = SETTINGS) -> gate.Judged:
    target = gate.Target(manifest.load(before).labels, [])
    return gate.judge(candidate(folder), incumbent(before), target, settings)
