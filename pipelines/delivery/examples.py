"""Pictures of the test set with the model's answers, for servers to prove themselves with.

Those of golden.yaml, which a person has looked at; without any, of each class the one that the model is surest of.
"""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from model.examples import Example
from pipelines.review import golden
from pipelines.training.dataset import PREDICTIONS, Dataset


def make(folder: Path, labels: list[str]) -> bytes:
    """Return the content of examples.json for the model in a folder."""
    answers = pq.read_table(folder / PREDICTIONS)
    probabilities = np.stack(answers.column("quantized").to_numpy())
    ids = answers.column("id").to_pylist()
    chosen = {example.id for example in golden.load()}
    rows = [row for row, name in enumerate(ids) if name in chosen]
    if not rows:
        rows = [int(column.argmax()) for column in probabilities.T]
    dataset = Dataset()
    places = {name: place for place, name in enumerate(dataset.examples.column("id").to_pylist())}
    found = []
    for row in sorted(set(rows)):
        best = int(probabilities[row].argmax())
        pixels = dataset.images[places[ids[row]]]
        found.append(Example(labels[best], float(probabilities[row][best]), _png(pixels)))
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()
