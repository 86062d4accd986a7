"""From findings to one verdict, with all that a report shows beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from pipelines.params import Params
from pipelines.review import baseline, changes, exposure, gate, golden, limits, lock, repository
from pipelines.review.baseline import Incumbent, NoIncumbentError
from pipelines.review.candidate import Candidate, is_same_model
from pipelines.review.comparison import overall
from pipelines.review.gate import Judged
from pipelines.review.verdict import Finding, Flip, Review, Verdict
from pipelines.training import split

MOST_FLIPS = 500
"""Flipped examples that a review lists."""


def flips(candidate: Candidate, judged: Judged) -> tuple[list[Flip], tuple[int, int]]:
    """Return the examples whose answer turned wrong, the surest first, then those that turned right; and how many."""
    if judged.answers is None or judged.candidate is None:
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


@dataclass(frozen=True)
class Result:
    """A review, and the models for pictures of it."""

    review: Review
    judged: Judged
    incumbent: Incumbent | None
    """None when there is none to compare with, or it is the candidate."""


def review(name: str, base: str, candidate: Candidate, settings: Params, work: Path) -> Result:
    """Judge the candidate against the model at a revision; files of the incumbent go to the folder `work`.

    Raises PipelineError when it cannot be judged.
    """
    notes: list[str] = []
    same, found, target = False, None, gate.NO_TARGET
    try:
        found = baseline.find(base, work)
    except NoIncumbentError as error:
        notes.append(f"No incumbent: {error}. Only floors and ceilings were judged.")
    if found:
        settings, note = limits.in_force(found, settings)
        notes += note
        if repository.is_behind(found.commit, lock.NAME):
            notes.append(
                f"{base} has another model since this branch left it: merge or rebase, and it is judged on its own."
            )
        same = is_same_model(candidate, found)
        labels = candidate.manifest.labels if same else found.manifest.labels
        target = gate.Target(labels, golden.at(found.commit))
        if not set(labels) & set(candidate.manifest.labels):
            notes.append(f"The model at {base} knows none of the classes: only floors and ceilings were judged.")
    comparable = found is not None and not same and bool(set(target.labels) & set(candidate.manifest.labels))
    judged = gate.judge(candidate, found if comparable else None, target, settings)
    findings = [_as_the_same(finding) for finding in judged.findings] if same else judged.findings
    verdict = overall(findings, settings.gate)
    turned, counts = flips(candidate, judged)
    made = Review(
        name=name,
        verdict=verdict,
        may_merge=verdict in {Verdict.PASS, Verdict.NO_INCUMBENT}
        or (verdict is Verdict.INCONCLUSIVE and settings.gate.inconclusive == "allow"),
        summary=_summary(verdict, findings, same=same),
        commit=repository.commit("HEAD"),
        base=base,
        base_commit=found.commit if found else None,
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
        changes=changes.describe(found, candidate, same=same) if found else None,
        notes=[*notes, *(found.notes if found else []), *(judged.answers.notes if judged.answers else [])],
    )
    return Result(made, judged, found if comparable else None)


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
            return f"It cannot be told yet: {names}."
        case Verdict.NO_INCUMBENT:
            return "Every floor and ceiling holds; there is no incumbent to compare with."
        case _:
            return "No model change." if same else "No loss beyond the margins."
