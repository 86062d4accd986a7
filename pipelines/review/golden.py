"""Examples that no model may get wrong, in a file that people review."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import yaml

from pipelines.command import PipelineError
from pipelines.documents import Section
from pipelines.review import repository
from pipelines.review.outcomes import Outcomes
from pipelines.review.verdict import Finding, Verdict

PATH = Path("golden.yaml")


class Example(Section, frozen=True):
    id: str
    label: str
    why: str


def load(path: Path = PATH) -> list[Example]:
    """Read the file. Raises PipelineError when it is missing or malformed."""
    try:
        return _parse(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing: put `[]` into it when no example is golden") from None


def at(commit: str) -> list[Example]:
    """Return what the file at a commit holds, nothing when it is not there."""
    content = repository.content(commit, str(PATH))
    return _parse(content, f"{PATH} at {commit[:10]}") if content is not None else []


def _parse(content: bytes, where: str) -> list[Example]:
    try:
        return msgspec.convert(yaml.safe_load(content), list[Example])
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PipelineError(f"{where}: {error}") from error


def judge(golden: list[Example], before: list[Example], examples: pa.Table, candidate: Outcomes) -> list[Finding]:
    """Return a finding for each golden example, those that this change takes off the list among them.

    before: the list at the merge target. An example that is golden and no longer tested fails; one that left both the
    list and the data is reported, for people to agree.
    """
    positions = {name: position for position, name in enumerate(examples.column("id").to_pylist())}
    listed = {example.id for example in golden}
    found = [_judge(example, positions.get(example.id), candidate) for example in golden]
    for example in before:
        if example.id in listed:
            continue
        if example.id in positions:
            found.append(_judge(example, positions[example.id], candidate))
        else:
            reason = f"{example.why}: this change takes it out of the list and of the test set"
            found.append(Finding(rule="golden", subject=example.id, verdict=Verdict.NOT_JUDGED, reason=reason))
    return found


def _judge(example: Example, position: int | None, candidate: Outcomes) -> Finding:
    verdict, reason = Verdict.FAIL, f"no test example has this id: take it out of {PATH} if the data changed on purpose"
    if position is not None:
        label, answer = (candidate.labels[int(which[position])] for which in (candidate.targets, candidate.predicted))
        reason = f"{example.why}: {answer!r}"
        if label != example.label:
            reason = f"{PATH} says {example.label!r}, the data {label!r}"
        elif answer == label:
            verdict = Verdict.PASS
    return Finding(rule="golden", subject=example.id, verdict=verdict, reason=reason)
