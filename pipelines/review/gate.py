"""The verdict on a change: every rule of params.yaml's `gate`, against the model at the merge target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from model import manifest
from model.manifest import FLOAT_MODEL, MODEL, Manifest
from pipelines.params import Params
from pipelines.review import baseline, budgets, changes, evidence, exposure, golden, outcomes, quality
from pipelines.review.baseline import Incumbent, NoIncumbentError
from pipelines.review.outcomes import Outcomes
from pipelines.review.rescore import Answers, answers
from pipelines.review.verdict import Finding, Flip, Review, Verdict, worst
from pipelines.training import split
from pipelines.training.dataset import ARTIFACTS, BEHAVIOUR, PREDICTIONS, Dataset

MOST_FLIPS = 500
"""Flipped examples that a review lists."""


@dataclass(frozen=True)
class Candidate:
    folder: Path
    lock: dict[str, Any]
    dataset: Dataset
    manifest: Manifest
    examples: pa.Table
    """Id, label and extra columns of the test set."""


@dataclass(frozen=True)
class Judged:
    """What the rules found, and what the report shows beside it."""

    findings: list[Finding]
    candidate: Outcomes
    answers: Answers | None


def load_candidate(folder: Path = ARTIFACTS, lock: Path = Path("dvc.lock")) -> Candidate:
    """Read what the pipeline made. Raises PipelineError or ManifestError when a file is missing or was swapped."""
    evidence.require(folder, (PREDICTIONS, BEHAVIOUR))
    return Candidate(
        folder,
        yaml.load(lock.read_text(), yaml.CSafeLoader) if lock.exists() else {},
        Dataset(folder / "dataset"),
        manifest.load(folder),
        outcomes.examples(folder / PREDICTIONS),
    )


def is_same_model(candidate: Candidate, incumbent: Incumbent) -> bool:
    """Say whether the incumbent's files are the candidate's, without fetching any where the locks tell."""
    ours, theirs = (baseline.outputs(lock) for lock in (candidate.lock, incumbent.lock))
    if any(ours.get(f"artifacts/{name}") != theirs.get(f"artifacts/{name}") for name in (MODEL, FLOAT_MODEL)):
        return False
    same_manifest = ours.get(f"artifacts/{manifest.NAME}") == theirs.get(f"artifacts/{manifest.NAME}")
    return same_manifest or incumbent.manifest.labels == candidate.manifest.labels


def judge_candidate(candidate: Candidate, incumbent: Incumbent | None, settings: Params) -> Judged:
    """Judge by every rule; without an incumbent by floors and ceilings alone."""
    gate, own = settings.gate, candidate.manifest.labels
    theirs = incumbent.manifest.labels if incumbent else []
    labels = [*own, *(label for label in theirs if label not in own)]
    ours = outcomes.read(candidate.folder / PREDICTIONS, own, labels)
    bins = settings.evaluate.calibration_bins
    proof = evidence.check(candidate.folder, candidate.dataset, candidate.manifest, ours, bins)
    if proof.verdict is Verdict.FAIL:
        return Judged([proof], ours, None)
    answered = None
    if incumbent:
        same = baseline.same_behaviour(candidate.lock, incumbent.lock)
        answered = answers(incumbent, candidate.dataset, candidate.examples, labels, settings.evaluate.behaviour, same)
    found = [proof, *_classes(own, theirs, gate.removed_classes)]
    found += _judge_quality(candidate, ours, answered, settings)
    found += golden.judge(golden.load(), candidate.examples, ours)
    found.append(budgets.size(candidate.folder, incumbent.folder if incumbent else None, gate.size))
    contenders = [_contender(candidate.folder, candidate.manifest)]
    if incumbent:
        contenders.append(_contender(incumbent.folder, incumbent.manifest))
    found.append(budgets.latency(contenders, gate.latency, gate.confidence))
    return Judged(found, ours, answered)


def _contender(folder: Path, described: Manifest) -> budgets.Contender:
    return folder, np.full((1, *described.input_shape), 128, np.uint8)


def _classes(own: list[str], theirs: list[str], removable: list[str]) -> Iterator[Finding]:
    gone = [label for label in theirs if label not in own and label not in removable]
    if gone:
        names = ", ".join(map(repr, gone[:10]))
        reason = (
            f"classes that the incumbent knows are gone: {names}: name them in gate.removed_classes if they should be"
        )
        yield Finding(rule="classes", verdict=Verdict.FAIL, reason=reason)
    else:
        yield Finding(rule="classes", verdict=Verdict.PASS, reason=f"{len(own)} classes, none is gone")


def _judge_quality(
    candidate: Candidate, ours: Outcomes, answered: Answers | None, settings: Params
) -> Iterator[Finding]:
    kept = ~answered.seen if answered else np.ones(len(ours.targets), np.bool_)
    if not kept.any():
        reason = "every test example is in the incumbent's training set: add test examples that it has not seen"
        yield Finding(rule="test set", verdict=Verdict.INCONCLUSIVE, reason=reason)
    pair = quality.Pair(ours, answered.outcomes if answered else None, kept)
    held = pq.read_table(candidate.folder / BEHAVIOUR)
    theirs = answered.behaviour if answered else None
    for finding in quality.findings(pair, candidate.examples, held, theirs, len(candidate.manifest.labels), settings):
        if answered and finding.verdict is Verdict.NO_INCUMBENT:
            yield msgspec.structs.replace(finding, verdict=Verdict.NOT_JUDGED)
        else:
            yield finding


def flips(candidate: Candidate, judged: Judged) -> tuple[list[Flip], tuple[int, int]]:
    """Return the examples whose answer turned wrong, the surest first, then those that turned right; and how many."""
    if judged.answers is None:
        return [], (0, 0)
    ours, theirs = judged.candidate, judged.answers.outcomes
    turned = np.flatnonzero((ours.correct != theirs.correct) & ~judged.answers.seen)
    order = turned[np.lexsort((-ours.confidence[turned], ours.correct[turned]))]
    positions = candidate.dataset.indices(split.TEST)
    ids = candidate.examples.column("id")
    found = [
        Flip(
            id=ids[int(row)].as_py(),
            position=int(positions[row]),
            label=ours.labels[ours.targets[row]],
            incumbent=ours.labels[theirs.predicted[row]],
            candidate=ours.labels[ours.predicted[row]],
            confidence=float(ours.confidence[row]),
            fixed=bool(ours.correct[row]),
        )
        for row in order[:MOST_FLIPS]
    ]
    fixed = int(ours.correct[turned].sum())
    return found, (fixed, len(turned) - fixed)


def review(
    name: str, base: str, candidate: Candidate, settings: Params, work: Path
) -> tuple[Review, Judged, Incumbent | None]:
    """Judge the candidate against the model at a revision; files of the incumbent go to the folder `work`.

    Raises PipelineError when it cannot be judged.
    """
    notes: list[str] = []
    same = False
    incumbent = None
    try:
        incumbent = baseline.find(base, work)
        same = is_same_model(candidate, incumbent)
        if not same:
            baseline.require_common_class(incumbent, candidate.manifest.labels)
    except NoIncumbentError as error:
        incumbent = None
        notes.append(f"No incumbent: {error}. Only floors and ceilings were judged.")
    judged = judge_candidate(candidate, None if same else incumbent, settings)
    findings = [_as_the_same(finding) for finding in judged.findings] if same else judged.findings
    verdict = worst(finding.verdict for finding in findings)
    if judged.answers:
        notes += judged.answers.notes
    turned, counts = flips(candidate, judged)
    changed = changes.describe(incumbent, candidate.dataset.schema) if incumbent and not same else {}
    made = Review(
        name=name,
        verdict=verdict,
        may_merge=verdict in {Verdict.PASS, Verdict.NO_INCUMBENT}
        or (verdict is Verdict.INCONCLUSIVE and settings.gate.inconclusive == "allow"),
        summary=_summary(verdict, findings, same=same),
        base=base,
        base_commit=incumbent.commit if incumbent else None,
        confidence=settings.gate.confidence,
        examples=len(candidate.examples),
        findings=findings,
        flips=turned,
        flipped=counts,
        exposure=exposure.count(
            candidate.dataset.schema.test_sha256,
            (candidate.folder / "metrics.json").read_bytes(),
            settings.gate.confidence,
            settings.gate.fresh_test_data,
        ),
        changes=changed,
        notes=notes,
    )
    return made, judged, incumbent


def _as_the_same(finding: Finding) -> Finding:
    if finding.verdict is not Verdict.NO_INCUMBENT:
        return finding
    return msgspec.structs.replace(finding, verdict=Verdict.PASS, reason="within its bound; the model is the incumbent")


def _summary(verdict: Verdict, findings: list[Finding], *, same: bool) -> str:
    culprits = [f"{row.rule} {row.subject}".strip() for row in findings if row.verdict is verdict]
    names = ", ".join(culprits[:5]) + (f" and {len(culprits) - 5} more" if len(culprits) > 5 else "")
    match verdict:
        case Verdict.FAIL:
            return f"Fails on {names}."
        case Verdict.INCONCLUSIVE:
            return f"Too few test examples to tell: {names}."
        case Verdict.NO_INCUMBENT:
            return "Every floor and ceiling holds; there is no incumbent to compare with."
        case _:
            return "No model change." if same else "No loss beyond the margins."
