"""What a review says, as its JSON holds it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NO_INCUMBENT = "no-incumbent"
    NOT_JUDGED = "not-judged"
    """Of a slice with too few examples, or a comparison that has no meaning: reported, without a say."""


BUDGETS = {"size", "latency"}
"""Rules whose change is a ratio."""

SEVERITY = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NO_INCUMBENT, Verdict.PASS, Verdict.NOT_JUDGED)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    return min(verdicts, key=SEVERITY.index)


def worst_first(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: SEVERITY.index(finding.verdict))


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule found of one subject."""

    rule: str
    subject: str = ""
    """The slice, corruption or example that it is about; empty where the rule has one subject."""
    verdict: Verdict
    reason: str
    value: float | None = None
    incumbent: float | None = None
    bound: float | None = None
    """Floor or ceiling of the value."""
    change: float | None = None
    """Value less the incumbent's, or for a budget how many times it; with its interval."""
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    """The change at which the rule fails."""
    examples: int | None = None
    needed: int | None = None
    """Examples that would decide an inconclusive finding."""


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """A test example that one model gets right and the other wrong."""

    id: str
    position: int
    """In the prepared data set."""
    label: str
    incumbent: str
    candidate: str
    confidence: float
    """Of the candidate."""
    fixed: bool


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """How often the test set has judged: see pipelines/review/exposure.py."""

    judged: int
    budget: int
    joint_confidence: float
    complete: bool
    """False in a shallow clone, which sees only part of the history."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Since the incumbent's commit: values and numbers of examples before and after."""

    params: dict[str, tuple[Any, Any]]
    data: dict[str, tuple[int, int]]
    """By split; empty when all examples are the same."""
    files: list[str]


class Review(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    verdict: Verdict
    may_merge: bool
    summary: str
    commit: str | None
    """What the working tree was made from."""
    base: str
    base_commit: str | None
    confidence: float
    examples: int
    findings: list[Finding]
    flips: list[Flip]
    flipped: tuple[int, int]
    """Examples that the candidate fixed and broke, all of them."""
    exposure: Exposure
    changes: Changes | None
    """None without a revision to compare with."""
    notes: list[str]

    def rules(self) -> dict[str, list[Finding]]:
        """Return the findings by rule, in the order of judging."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.rule, []).append(finding)
        return found
