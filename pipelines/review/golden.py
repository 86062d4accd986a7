"""Examples that no model may get wrong, in a file that people review."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import yaml

from pipelines.command import PipelineError
from pipelines.params import Section
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
        return msgspec.convert(yaml.safe_load(path.read_text()) or [], list[Example])
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing: put `[]` into it when no example is golden") from None
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PipelineError(f"{path}: {error}") from error


def judge(golden: list[Example], examples: pa.Table, candidate: Outcomes) -> list[Finding]:
    """Return a finding for each golden example; one that is no longer tested, or has another label, fails too."""
    positions = {name: position for position, name in enumerate(examples.column("id").to_pylist())}
    return [_judge(example, positions.get(example.id), candidate) for example in golden]


def _judge(example: Example, position: int | None, candidate: Outcomes) -> Finding:
    verdict, reason = Verdict.FAIL, f"no test example has this id: mend {PATH} when the data changed on purpose"
    if position is not None:
        label, answer = (candidate.labels[int(which[position])] for which in (candidate.targets, candidate.predicted))
        reason = f"{example.why}: {answer!r}"
        if label != example.label:
            reason = f"{PATH} says {example.label!r}, the data {label!r}"
        elif answer == label:
            verdict = Verdict.PASS
    return Finding(rule="golden", subject=example.id, verdict=verdict, reason=reason)
