"""How soon and how surely drift is noticed: windows of planted shifts, and of none.

python -m benchmarks.drift                 the table of docs/monitoring.md, in some minutes
python -m benchmarks.drift --windows 50    a first look, after changing monitoring/objectives.yaml
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from sklearn.datasets import load_sample_images

from benchmarks import page
from model import statistics
from model.inputs import Pixels
from model.manifest import MODEL
from model.predictor import Predictor
from model.statistics import Reference
from pipelines.command import PipelineError, run
from pipelines.operations import rules
from pipelines.operations.drift import judge
from pipelines.operations.rules import Drift
from pipelines.training import split
from pipelines.training.corruptions import CORRUPTIONS
from pipelines.training.dataset import ARTIFACTS, Dataset

PAGE = Path("docs/monitoring.md")
SIZES = (100, 300, 1000, 10_000)
SLIDING, STEP = 1000, 25
"""Images of the window that follows a stream, and by how many it moves on."""
HALVES = 20
"""Ways to halve what the model has not learned from into a reference and a production."""

Binned = dict[str, NDArray[np.int64]]
"""The bin of each image, by feature."""


class Shift(NamedTuple):
    name: str
    strength: str
    change: Callable[[Pixels, NDArray[np.int64], np.random.Generator], Pixels]
    """Of images [n, height, width, channels] with their targets [n]."""


def shifts(shape: tuple[int, ...]) -> list[Shift]:
    planted = [Shift("none", "", lambda images, _, __: images)]
    for name, amounts in {
        "brightness": (5, 10, 20, 40),
        "contrast": (0.1, 0.2, 0.4),
        "noise": (5, 10, 20),
        "blur": (0.5, 1.0),
        "rotation": (5, 10, 20, 45),
    }.items():
        planted += [Shift(name, f"{amount:g}", partial(_corrupt, CORRUPTIONS[name], amount)) for amount in amounts]
    planted.append(Shift("inversion", "", lambda images, _, __: 255 - images))
    planted += [Shift("one class more often", f"{times} times", partial(_prior, times)) for times in (2, 4, 1000)]
    planted += [Shift("something else", f"{share:.0%}", partial(_replace, share, shape)) for share in (0.05, 0.1, 0.25)]
    return planted


def _corrupt(
    corruption: Callable[[Pixels, float], Pixels], amount: float, images: Pixels, _: object, __: object
) -> Pixels:
    return corruption(images, amount)


def _prior(times: int, images: Pixels, targets: NDArray[np.int64], random: np.random.Generator) -> Pixels:
    weights = np.where(targets == targets[0], float(times), 1.0)
    return images[random.choice(len(images), 2000, p=weights / weights.sum())]


def _replace(
    share: float, shape: tuple[int, ...], images: Pixels, _: NDArray[np.int64], random: np.random.Generator
) -> Pixels:
    """Put pieces of photographs in place of some images."""
    height, width, channels = shape
    photographs = [
        np.asarray(Image.fromarray(photo).convert("L" if channels == 1 else "RGB"))
        for photo in load_sample_images().images
    ]
    changed = images[random.integers(len(images), size=2000)]
    for position in np.flatnonzero(random.random(len(changed)) < share):
        photo = photographs[random.integers(len(photographs))]
        top, left = (int(random.integers(side - size)) for side, size in zip(photo.shape[:2], shape[:2], strict=True))
        changed[position] = photo[top : top + height, left : left + width].reshape(shape)
    return changed


class World:
    """A reference of one half of what the model has not learned from, and a production that is the other."""

    def __init__(self, dataset: Dataset, predictor: Predictor, seed: int) -> None:
        self._predict = predictor.predict
        self._labels = dataset.schema.labels
        self.random = np.random.default_rng(seed)
        unseen = np.flatnonzero(dataset.examples.column("split").to_numpy(zero_copy_only=False) != split.TRAIN)
        order = self.random.permutation(unseen)
        held, self._rest = np.sort(order[::2]), np.sort(order[1::2])
        images = dataset.images[held]
        self.reference: Reference = statistics.refer([images], self._predict(images), self._labels)
        self._images, self._targets = dataset.images[self._rest], dataset.targets[self._rest]

    def produce(self, shift: Shift) -> Binned:
        images = shift.change(self._images, self._targets, self.random)
        answers = self._predict(images)
        values = statistics.of_images(images) | statistics.of_answers(answers)
        found: Binned = {
            name: np.searchsorted(np.asarray(self.reference.features[name].edges, np.float32), seen, "right")
            for name, seen in values.items()
        }
        return found | {statistics.ANSWER: answers.argmax(axis=1)}

    def held(self, feature: str) -> dict[str, float]:
        if feature == statistics.ANSWER:
            return dict(self.reference.answers)
        return {str(number): count for number, count in enumerate(self.reference.features[feature].counts)}

    def moved(self, binned: Mapping[str, NDArray[np.int64]], chosen: Drift) -> set[str]:
        """Return the features of a window that have drifted."""
        found = set()
        for feature, bins in binned.items():
            held = self.held(feature)
            counts = np.bincount(bins, minlength=len(held)).tolist()
            if judge("", feature, dict(zip(held, counts, strict=True)), held, chosen).drifted:
                found.add(feature)
        return found


def _window(binned: Binned, size: int, random: np.random.Generator) -> Binned:
    drawn = random.integers(len(binned[statistics.ANSWER]), size=size)
    return {feature: bins[drawn] for feature, bins in binned.items()}


def delay(world: World, before: Binned, after: Binned, chosen: Drift) -> float:
    """Return how many images after a shift the sliding window notices it; infinity when it never does."""
    old, new = (_window(binned, 2 * SLIDING, world.random) for binned in (before, after))
    for passed in range(STEP, 2 * SLIDING + 1, STEP):
        kept = max(0, SLIDING - passed)
        newest = slice(max(0, passed - SLIDING), passed)
        window = {feature: np.concatenate([old[feature][:kept], new[feature][newest]]) for feature in old}
        if world.moved(window, chosen):
            return passed
    return np.inf


def rows(worlds: list[World], shape: tuple[int, ...], windows: int, chosen: Drift) -> Iterator[str]:
    yield f"| shift | strength | {' | '.join(f'{size:,} images' for size in SIZES)} | delay | noticed by |"
    yield "| --- | --- |" + " ---: |" * (len(SIZES) + 1) + " --- |"
    for shift in track(shifts(shape), "drift"):
        pairs = [(world, world.produce(shifts(shape)[0]), world.produce(shift)) for world in worlds]
        each = windows * (5 if shift.name == "none" else 1) // len(worlds)
        cells, moved = [], Counter[str]()
        for size in SIZES:
            found = [
                world.moved(_window(after, size, world.random), chosen)
                for world, _, after in pairs
                for _ in range(each)
            ]
            cells.append(f"{np.mean([bool(features) for features in found]):.1%}")
            if size == SLIDING:
                moved.update(feature for features in found for feature in features)
        late = np.median([delay(world, before, after, chosen) for world, before, after in pairs])
        names = ", ".join(name for name, count in moved.most_common() if count > windows / 2)
        waited = f"{late:,.0f}" if shift.name != "none" and np.isfinite(late) else ""
        yield f"| {shift.name} | {shift.strength} | {' | '.join(cells)} | {waited} | {names} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=200, help="of each shift and size; five times as many without")
    windows = parser.parse_args().windows
    if windows < HALVES:
        raise PipelineError(f"--windows {windows}: at least {HALVES}")
    dataset, predictor = Dataset(), Predictor(ARTIFACTS / MODEL)
    worlds = [World(dataset, predictor, seed) for seed in range(HALVES)]
    lines = list(rows(worlds, predictor.input_shape, windows, rules.load().drift))
    print("\n".join(lines))
    if PAGE.exists():
        page.write(PAGE, "drift", lines)


if __name__ == "__main__":
    run(main)
