"""Every rule of params.yaml's `gate`, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq

from model.manifest import Manifest
from pipelines.params import Params
from pipelines.review import budgets, evidence, golden, quality
from pipelines.review.baseline import Incumbent
from pipelines.review.candidate import Candidate
from pipelines.review.outcomes import Outcomes
from pipelines.review.rescore import Answers, answers
from pipelines.review.verdict import Finding, Verdict
from pipelines.training.dataset import BEHAVIOUR


@dataclass(frozen=True)
class Judged:
    """What the rules found, and what the report shows beside it."""

    findings: list[Finding]
    candidate: Outcomes | None
    """None when the evidence is not the candidate's own."""
    answers: Answers | None


@dataclass(frozen=True)
class Target:
    """What the merge target holds, whether or not its model can be compared with."""

    labels: list[str]
    golden: list[golden.Example]


NO_TARGET = Target([], [])


def judge(candidate: Candidate, incumbent: Incumbent | None, target: Target, settings: Params) -> Judged:
    """Judge by every rule; without an incumbent by floors and ceilings alone."""
    gate, own = settings.gate, candidate.manifest.labels
    labels = [*own, *(label for label in target.labels if label not in own)]
    proof, ours = evidence.check(candidate.folder, candidate.dataset, candidate.manifest, labels, settings.evaluate)
    if ours is None:
        return Judged([proof], None, None)
    answered = None
    if incumbent:
        watched = settings.evaluate.behaviour
        answered = answers(incumbent, candidate.dataset, candidate.examples, labels, watched, candidate.lock)
    found = [
        proof,
        _classes(own, target.labels, gate.removed_classes),
        *_judge_quality(candidate, ours, answered, settings),
    ]
    found += golden.judge(golden.load(), target.golden, candidate.examples, ours)
    found.append(budgets.size(candidate.folder, incumbent.folder if incumbent else None, gate.size))
    contenders = [_contender(candidate.folder, candidate.manifest)]
    if incumbent:
        contenders.append(_contender(incumbent.folder, incumbent.manifest))
    found.append(budgets.latency(contenders, gate.latency, gate.confidence))
    return Judged(found, ours, answered)


def _contender(folder: Path, described: Manifest) -> budgets.Contender:
    return folder, np.full((1, *described.input_shape), 128, np.uint8)


def _classes(own: list[str], theirs: list[str], removable: list[str]) -> Finding:
    gone = [label for label in theirs if label not in own and label not in removable]
    if not gone:
        return Finding(rule="classes", verdict=Verdict.PASS, reason=f"{len(own)} classes, none is gone")
    names = ", ".join(map(repr, gone[:10])) + (f" and {len(gone) - 10} more" if len(gone) > 10 else "")
    reason = f"the incumbent also knows {names}: name in gate.removed_classes what may go"
    return Finding(rule="classes", verdict=Verdict.FAIL, reason=reason)


def _judge_quality(
    candidate: Candidate, ours: Outcomes, answered: Answers | None, settings: Params
) -> Iterator[Finding]:
    kept = ~answered.seen if answered else np.ones(len(ours.targets), np.bool_)
    if not kept.any():
        reason = "every test example is in the incumbent's training set: add test examples that it has not seen"
        yield Finding(rule="test set", verdict=Verdict.FAIL, reason=reason)
    pair = quality.Pair(ours, answered.outcomes if answered else None, kept)
    held = pq.read_table(candidate.folder / BEHAVIOUR)
    theirs = answered.behaviour if answered else None
    for finding in quality.findings(pair, candidate.examples, held, theirs, len(candidate.manifest.labels), settings):
        if answered and finding.verdict is Verdict.NO_INCUMBENT:
            yield msgspec.structs.replace(finding, verdict=Verdict.NOT_JUDGED)
        else:
            yield finding
