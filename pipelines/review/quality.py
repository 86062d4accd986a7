"""How good the candidate is: what is compared, and on which examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.params import AtLeast, AtMost, Gate, Params
from pipelines.review import resampling
from pipelines.review.comparison import Comparison, compare_shares, judge
from pipelines.review.outcomes import Outcomes
from pipelines.review.verdict import Finding, Verdict
from pipelines.training.slices import groups


@dataclass(frozen=True)
class Pair:
    """The candidate and the incumbent, if there is one, on the same n examples."""

    candidate: Outcomes
    incumbent: Outcomes | None
    kept: NDArray[np.bool_]
    """The examples that both may be compared on."""


def findings(  # noqa: PLR0913, PLR0917 (both models and what they are asked)
    pair: Pair,
    examples: pa.Table,
    ours: pa.Table,
    theirs: pa.Table | None,
    classes: int,
    settings: Params,
) -> Iterator[Finding]:
    """Judge all of it together.

    examples: label and extra columns of the test set; ours, theirs: whose expectations held, see
    pipelines/training/behaviour.py; classes: of the candidate.
    """
    gate = settings.gate
    rows: list[Finding | Comparison] = [
        *metrics(pair, classes, settings.evaluate.calibration_bins, gate),
        *slices(pair, examples, gate),
        *quantization(pair.candidate, gate),
        *behaviour(ours, theirs, _ids(examples, ~pair.kept), gate),
    ]
    judged = iter(judge([row for row in rows if isinstance(row, Comparison)], gate))
    for row in rows:
        yield next(judged) if isinstance(row, Comparison) else row


def _ids(examples: pa.Table, chosen: NDArray[np.bool_]) -> set[str]:
    return set(examples.column("id").filter(pa.array(chosen)).to_pylist())


def metrics(pair: Pair, classes: int, bins: int, gate: Gate) -> Iterator[Comparison]:
    """Compare what `evaluate` reports, as far as params set limits."""
    ours, theirs, kept = pair.candidate, pair.incumbent, pair.kept
    yield compare_shares(
        "accuracy",
        "",
        gate.metrics.accuracy,
        ours.correct,
        None if theirs is None else theirs.correct,
        kept,
        gate.confidence,
    )
    chosen: dict[str, AtLeast | AtMost] = {
        name: limits for name in resampling.METRICS if (limits := getattr(gate.metrics, name)) is not None
    }
    values = {name: resampling.value(name, ours, classes, bins) for name in chosen}
    if theirs is None or kept.sum() < 2:
        yield from (Comparison(name, "", chosen[name], values[name], len(kept)) for name in chosen)
        return
    ours, theirs = ours.take(kept), theirs.take(kept)
    found = resampling.differences([*chosen], ours, theirs, classes, bins, gate.confidence)
    for name, limits in chosen.items():
        before = resampling.value(name, theirs, classes, bins)
        yield Comparison(name, "", limits, values[name], found[name].examples, before, found[name])


def quantization(candidate: Outcomes, gate: Gate) -> tuple[Finding, Comparison]:
    """Hold the model that ships against the float model that it was made from."""
    agreement = float(np.mean(candidate.predicted == candidate.float_predicted))
    floor = gate.quantization.agreement
    agrees = Finding(
        rule="quantization",
        subject="agreement",
        verdict=Verdict.PASS if agreement >= floor else Verdict.FAIL,
        reason=f"the float model's answer in {agreement:.2%}, at least {floor:.2%} is asked for",
        value=agreement,
        bound=floor,
        examples=len(candidate.targets),
    )
    limits = AtLeast(floor=0, margin=gate.quantization.margin)
    everything = np.ones(len(candidate.targets), np.bool_)
    return agrees, compare_shares(
        "quantization",
        "accuracy, of float32",
        limits,
        candidate.correct,
        candidate.float_correct,
        everything,
        gate.confidence,
    )


def slices(pair: Pair, examples: pa.Table, gate: Gate) -> Iterator[Finding | Comparison]:
    """Compare each class and each value of an extra column; those with too few examples are only reported."""
    least = gate.slices.min_examples
    columns = {"label": np.array(examples.column("label").to_pylist()), **groups(examples)}
    for column, values in columns.items():
        for value in np.unique(values).tolist():
            members, subject = values == value, f"{column} {value}"
            ours, kept = pair.candidate.correct[members], pair.kept[members]
            theirs = None if pair.incumbent is None else pair.incumbent.correct[members]
            if len(ours) < least:
                yield Finding(
                    rule="slices",
                    subject=subject,
                    verdict=Verdict.NOT_JUDGED,
                    reason=f"{len(ours)} examples; {least} are needed to judge",
                    value=float(ours.mean()),
                    incumbent=None if theirs is None else float(theirs.mean()),
                    examples=len(ours),
                )
            else:
                comparable = theirs if kept.sum() >= least else None
                yield compare_shares("slices", subject, gate.slices, ours, comparable, kept, gate.confidence)


def behaviour(ours: pa.Table, theirs: pa.Table | None, seen: set[str], gate: Gate) -> Iterator[Comparison]:
    """Compare how often each expectation holds; `seen` are the ids of examples that are not compared."""
    kept = np.array([name not in seen for name in ours.column("id").to_pylist()])
    for column in ours.column_names[1:]:
        kind, name = column.split("/")
        yield compare_shares(
            kind,
            name,
            getattr(gate, kind),
            ours.column(column).to_numpy(),
            None if theirs is None else theirs.column(column).to_numpy(),
            kept,
            gate.confidence,
        )
