"""How often the gate is right: reviews simulated from networks that were really trained.

python -m benchmarks.gate                  the table of docs/gate.md, in ten minutes
python -m benchmarks.gate --draws 100      a first look, after changing margins in params.yaml
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import track

from benchmarks import page
from pipelines import params
from pipelines.command import run
from pipelines.params import Params
from pipelines.review import outcomes, quality
from pipelines.review.comparison import overall
from pipelines.review.outcomes import Outcomes
from pipelines.review.verdict import Verdict
from pipelines.training import split
from pipelines.training.dataset import BEHAVIOUR, PREDICTIONS, Dataset

PAGE = Path("docs/gate.md")
STRONG, WEAK = 8, 3
"""Networks that differ by seed alone, and some that learned for too few epochs to be any good."""
DROPS = (0.0, 0.01, 0.02, 0.04)
SIZES = (1, 4)
"""Test sets, in multiples of the real one."""


@dataclass(frozen=True)
class Answers:
    """One network on the whole test set."""

    outcomes: Outcomes
    behaviour: pa.Table

    def take(self, rows: NDArray[np.int64]) -> Answers:
        return Answers(self.outcomes.take(rows), self.behaviour.take(pa.array(rows)))

    def spoil(self, weak: Answers, chosen: NDArray[np.bool_]) -> Answers:
        """Return what a network answers that is the weak one on some examples, bool [n]."""
        mixed = {
            field.name: np.where(chosen, getattr(weak.outcomes, field.name), getattr(self.outcomes, field.name))
            for field in fields(Outcomes)
            if field.name != "labels"
        }
        held = {
            name: np.where(chosen, weak.behaviour.column(name).to_numpy(), self.behaviour.column(name).to_numpy())
            for name in self.behaviour.column_names[1:]
        }
        held_ids = {"id": self.behaviour.column("id")}
        return Answers(Outcomes(labels=self.outcomes.labels, **mixed), pa.table(held_ids | held))


def train(dataset: Dataset, settings: Params, work: Path) -> Answers:
    """Train, quantize and evaluate one network."""
    from pipelines.training.evaluate import evaluate  # noqa: PLC0415 (TensorFlow)
    from pipelines.training.quantize import quantize  # noqa: PLC0415
    from pipelines.training.train import train as fit  # noqa: PLC0415

    fit(dataset, settings.train, work / "model.weights.h5", work / "history.csv")
    quantize(dataset, work / "model.weights.h5", work, settings)
    evaluate(dataset, work, settings)
    labels = dataset.schema.labels
    return Answers(outcomes.read(work / PREDICTIONS, labels, labels), pq.read_table(work / BEHAVIOUR))


def populations(dataset: Dataset, settings: Params) -> tuple[list[Answers], list[Answers]]:
    """Return networks that differ by seed alone, and weak ones; every one sees the whole test set."""
    replace = msgspec.structs.replace
    watched = replace(settings.evaluate.behaviour, examples=len(dataset.indices(split.TEST)))
    settings = replace(settings, evaluate=replace(settings.evaluate, behaviour=watched))

    def make(seed: int, epochs: int) -> Answers:
        chosen = replace(settings, train=replace(settings.train, seed=seed, epochs=epochs))
        lenient = replace(chosen, quantize=replace(chosen.quantize, min_agreement=0.5))
        with tempfile.TemporaryDirectory() as folder:
            return train(dataset, lenient, Path(folder))

    strong = [make(seed, settings.train.epochs) for seed in range(1, STRONG + 1)]
    # Still in the warm-up of the learning rate.
    return strong, [make(seed, 1 + seed % 2) for seed in range(1, WEAK + 1)]


@dataclass(frozen=True)
class Scenario:
    drop: float
    """Accuracy that the candidate has lost in truth."""
    size: int
    """Test examples."""


def draw(
    strong: list[Answers], weak: list[Answers], settings: Params, case: Scenario, number: int
) -> tuple[Verdict, bool]:
    """Return the verdict of one simulated review, and whether `candidate accuracy >= incumbent accuracy`."""
    generator = np.random.default_rng([number, case.size, round(case.drop * 1e6)])
    first, second = generator.choice(len(strong), 2, replace=False)
    rows = generator.integers(len(strong[0].outcomes.targets), size=case.size)
    incumbent, candidate = strong[first].take(rows), strong[second].take(rows)
    if case.drop:
        bad = weak[generator.integers(len(weak))]
        now, before, worse = (float(np.mean(model.outcomes.correct)) for model in (strong[second], strong[first], bad))
        chosen = generator.random(case.size) < (case.drop + now - before) / (now - worse)
        candidate = candidate.spoil(bad.take(rows), chosen)
    ours, labels = candidate.outcomes, np.array(candidate.outcomes.labels)
    examples = pa.table({"id": candidate.behaviour.column("id"), "label": labels[ours.targets]})
    pair = quality.Pair(ours, incumbent.outcomes, np.ones(case.size, np.bool_))
    found = quality.findings(pair, examples, candidate.behaviour, incumbent.behaviour, len(labels), settings)
    naive = bool(np.mean(ours.correct) >= np.mean(incumbent.outcomes.correct))
    return overall(list(found), settings.gate), naive


def simulate(
    strong: list[Answers], weak: list[Answers], settings: Params, case: Scenario, draws: int
) -> dict[str, float]:
    """Return the shares of verdicts over draws, and of draws that the naive rule blocks."""
    once = partial(draw, strong, weak, settings, case)
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        results = pool.map(once, range(draws), chunksize=50)
        found = list(track(results, f"{case.drop:.0%} at {case.size:,}", total=draws))
    verdicts = Counter(verdict for verdict, _ in found)
    shares = {verdict.value: verdicts[verdict] / draws for verdict in Verdict}
    return shares | {"naive": sum(not accepted for _, accepted in found) / draws}


def table(results: dict[Scenario, dict[str, float]], draws: int) -> Iterator[str]:
    """Yield the lines of the table, in Markdown."""
    yield "| test examples | true loss of accuracy | pass | inconclusive | fail | naive rule blocks |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for case, shares in results.items():
        cells = [f"{shares[name]:.1%}" for name in (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, "naive")]
        lost = f"{case.drop:.0%}" if case.drop else "none"
        yield f"| {case.size:,} | {lost} | {' | '.join(cells)} |"
    yield ""
    yield f"{draws:,} draws a row."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000, help="simulated reviews of each row (default: %(default)s)")
    parser.add_argument("--dry", action="store_true", help=f"print the table and leave {PAGE} as it is")
    options = parser.parse_args()
    settings = params.load()
    dataset = Dataset()
    strong, weak = populations(dataset, settings)
    for name, networks in (("networks", strong), ("weak networks", weak)):
        shares = ", ".join(f"{np.mean(network.outcomes.correct):.2%}" for network in networks)
        print(f"{name}: accuracy {shares}")
    tests = len(dataset.indices(split.TEST))
    cases = [Scenario(drop, tests * times) for times in SIZES for drop in DROPS]
    lines = list(table({case: simulate(strong, weak, settings, case, options.draws) for case in cases}, options.draws))
    print("\n".join(lines))
    if not options.dry:
        page.write(PAGE, "simulation", lines)


if __name__ == "__main__":
    run(main)
