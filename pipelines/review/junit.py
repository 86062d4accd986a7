"""The review as JUnit XML, which forges show as a list of tests: a case for each finding."""

from __future__ import annotations

from pathlib import Path

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from pipelines.command import atomic
from pipelines.review.verdict import Finding, Review, Verdict


def write(review: Review, path: Path) -> None:
    document = JUnitXml()
    for rule, findings in review.rules().items():
        suite = TestSuite(rule)
        suite.add_testcases([_case(review, finding) for finding in findings])
        document.add_testsuite(suite)
    with atomic(path) as partial:
        document.write(str(partial))


def _case(review: Review, finding: Finding) -> TestCase:
    case = TestCase(_printable(finding.subject or finding.rule), classname=_printable(f"{review.name}.{finding.rule}"))
    reason = _printable(f"{finding.verdict}: {finding.reason}")
    match finding.verdict:
        case Verdict.FAIL:
            case.result = [Failure(reason)]
        case Verdict.INCONCLUSIVE if not review.may_merge:
            case.result = [Failure(reason)]
        case Verdict.PASS:
            pass
        case _:
            case.result = [Skipped(reason)]
    return case


def _printable(text: str) -> str:
    """Leave out the control characters that XML 1.0 cannot hold."""
    return "".join(character if character.isprintable() else " " for character in text)
