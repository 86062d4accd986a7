"""How answers change when pictures do: the expectations of CheckList (Ribeiro et al. 2020), example by example.

Robustness expects the right answer under corruption, invariance the same answer under a change too small to matter,
and direction that a model whose view is hidden is no surer of its answer than before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.progress import track

from model.inputs import Pixels
from pipelines import params
from pipelines.training import split
from pipelines.training.corruptions import CORRUPTIONS, occlusion
from pipelines.training.dataset import Dataset, spread
from pipelines.training.metrics import HALF_STEP, Probabilities, Targets

Predict = Callable[[Pixels], Probabilities]
Expectation = Callable[[Predict, Pixels, Targets, Probabilities], NDArray[np.bool_]]


def _right(corrupt: Callable[[Pixels], Pixels]) -> Expectation:
    return lambda predict, images, targets, _: predict(corrupt(images)).argmax(axis=1) == targets


def _same(change: Callable[[Pixels], Pixels]) -> Expectation:
    return lambda predict, images, _, clean: predict(change(images)).argmax(axis=1) == clean.argmax(axis=1)


def _no_surer(hide: Callable[[Pixels], Pixels]) -> Expectation:
    def holds(predict: Predict, images: Pixels, _: Targets, clean: Probabilities) -> NDArray[np.bool_]:
        answer = clean.argmax(axis=1)[:, np.newaxis]
        before, after = (np.take_along_axis(values, answer, axis=1)[:, 0] for values in (clean, predict(hide(images))))
        return after <= before + 2 * HALF_STEP

    return holds


def expectations(settings: params.Behaviour) -> Iterator[tuple[str, str, Expectation]]:
    """Yield the kind, the name and the test of every expectation in params."""
    for name, severity in msgspec.structs.asdict(settings.robustness).items():
        yield "robustness", name, _right(partial(_corrupt, name, severity))
    for name, severity in msgspec.structs.asdict(settings.invariance).items():
        yield "invariance", name, _same(partial(_corrupt, name, severity))
    yield "direction", "occlusion", _no_surer(partial(_hide, settings.direction.occlusion))


def _corrupt(name: str, severity: float, images: Pixels) -> Pixels:
    return CORRUPTIONS[name](images, severity)


def _hide(share: float, images: Pixels) -> Pixels:
    return occlusion(images, share)


def part(dataset: Dataset, settings: params.Behaviour) -> NDArray[np.int64]:
    """Return the positions of the test examples that are observed, evenly spread."""
    return spread(dataset.indices(split.TEST), settings.examples)


def observe(predict: Predict, dataset: Dataset, positions: NDArray[np.int64], settings: params.Behaviour) -> pa.Table:
    """Return which expectations held for the examples at some positions.

    Columns: id, and a bool `<kind>/<name>` for each expectation.
    """
    names = {f"{kind}/{name}": expectation for kind, name, expectation in expectations(settings)}
    held: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in names}
    for indices in track(list(dataset.chunks(positions)), "evaluate"):
        pixels = dataset.images[indices]
        targets, clean = dataset.targets[indices], predict(pixels)
        for name, expectation in names.items():
            held[name].append(expectation(predict, pixels, targets, clean))
    columns = {name: np.concatenate(parts) for name, parts in held.items()}
    return pa.table({"id": dataset.examples.column("id").take(pa.array(positions))} | columns)
