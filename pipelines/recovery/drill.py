"""Prove that a backup would bring everything back: restore it into an empty place, and let the model answer there.

make restore-drill

Every file has its hash, Git finds no fault, `dvc status` is clean, and each release that an environment runs is signed
and gives the metrics that it was released with, on the restored test set. Buckets are read and never written.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from model.manifest import MODEL
from model.predictor import Predictor
from model.release import BUNDLE
from pipelines import params
from pipelines.command import PipelineError, run
from pipelines.delivery import bundle, settings, store
from pipelines.delivery.settings import Settings
from pipelines.dvc import dvc, succeeds
from pipelines.recovery import metrics, snapshots
from pipelines.recovery.restore import find, restore
from pipelines.recovery.snapshots import Snapshot
from pipelines.review.repository import git
from pipelines.training import split
from pipelines.training.dataset import Dataset
from pipelines.training.evaluate import predict_all
from pipelines.training.metrics import scores

METRICS = Path("reports", "drill.prom")
TOLERANCE = 0.002
"""Of the metrics: another kind of processor rounds otherwise."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", help="name of the backup (default: the newest)")
    parser.add_argument("--metrics", type=Path, default=METRICS, help="text file of metrics (default: %(default)s)")
    options = parser.parse_args()
    started = time.monotonic()
    chosen = settings.load()
    place = snapshots.place(chosen)
    snapshot = find(place, options.snapshot)
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        restored = Path(folder, "restored")
        restore(place, snapshot, restored)
        print(f"restored {len(snapshot.entries):,} files, {snapshot.size:,} bytes, each with its hash", flush=True)
        prove(restored / snapshot.folder, snapshot, chosen)
    metrics.write_drill(options.metrics, time.time(), time.monotonic() - started)
    print(f"backup {snapshot.name} brings everything back, in {time.monotonic() - started:.0f} s")


def prove(restored: Path, snapshot: Snapshot, chosen: Settings) -> None:
    """Raise PipelineError naming the first thing that does not hold."""
    git("-C", str(restored), "fsck", "--no-progress", "--no-dangling")
    if not succeeds("--cd", str(restored), "status", "--quiet"):
        raise PipelineError(f"`dvc status` in the restored clone is not clean: {dvc('--cd', str(restored), 'status')}")
    print("Git finds no fault, and `dvc status` is clean")
    recorded = json.loads((restored / "artifacts" / "metrics.json").read_text())["quantized"]
    _answers(restored, restored / "artifacts" / MODEL, recorded, "the model of main")
    for tag in sorted({release for release in snapshot.environments.values() if release}):
        _release(restored, tag, chosen)


def _release(restored: Path, tag: str, chosen: Settings) -> None:
    if not (restored / "dist" / tag).is_dir():
        raise PipelineError(f"{tag} runs somewhere, but the backup does not hold it")
    _, described = store.verify(restored / "dist" / tag, tag, chosen)
    git("-C", str(restored), "switch", "--quiet", "--detach", f"{described.commit}")
    dvc("--cd", str(restored), "checkout")
    with tempfile.TemporaryDirectory() as folder:
        bundle.read(restored / "dist" / tag / BUNDLE, tag, Path(folder))
        _answers(restored, Path(folder, tag, MODEL), described.metrics, tag)


def _answers(restored: Path, model: Path, recorded: dict[str, float], name: str) -> None:
    dataset = Dataset(restored / "artifacts" / "dataset")
    test = dataset.indices(split.TEST)
    chosen = params.load(restored / params.PATH).evaluate
    answers = predict_all(Predictor(model).predict, dataset, test)
    found = scores(dataset.targets[test], answers, chosen.confidence, chosen.calibration_bins)
    for metric in ("accuracy", "macro_f1", "brier"):
        if abs(getattr(found, metric) - recorded[metric]) > TOLERANCE:
            raise PipelineError(f"{name}: {metric} is {getattr(found, metric):.4f}, recorded is {recorded[metric]:.4f}")
    print(f"{name} gives the recorded metrics: accuracy {found.accuracy:.2%} of {len(test):,} examples", flush=True)


if __name__ == "__main__":
    run(main)
