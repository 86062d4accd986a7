"""Rules of Prometheus, written from what is promised: monitoring/objectives.yaml and monitoring/templates/.

python -m pipelines.operations.rules
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Meta
from scipy.stats import norm

from pipelines import documents
from pipelines.command import atomic, run
from pipelines.documents import Section

FOLDER = Path("monitoring")

Share = Annotated[float, Meta(gt=0, lt=1)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Duration = Annotated[str, Meta(pattern=r"^[0-9]+[smhdw]$")]


class Requests(Section, frozen=True):
    endpoints: str
    failed: str
    refused: str


class Jobs(Section, frozen=True):
    serving: str
    hosts: str


class Availability(Section, frozen=True):
    target: Share


class Latency(Section, frozen=True):
    target: Share
    seconds: Positive


class Promised(Section, frozen=True):
    availability: Availability
    latency: Latency


class Burn(Section, frozen=True):
    rate: Positive
    long: Duration
    short: Duration
    severity: Literal["page", "ticket"]


class Drift(Section, frozen=True):
    windows: Annotated[list[Duration], Meta(min_length=1)]
    psi: Positive
    false_alarms: Share
    unsure: Share
    least: Count


class Days(Section, frozen=True):
    model: Count
    data: Count
    backup: Count
    drill: Count
    certificate: Count


class Objectives(Section, frozen=True):
    """What monitoring/objectives.yaml says."""

    runbooks: str
    requests: Requests
    jobs: Jobs
    objectives: Promised
    burn: Annotated[list[Burn], Meta(min_length=1)]
    drift: Drift
    days: Days


def load() -> Objectives:
    """Read and check the objectives. Raises PipelineError naming the key, what it holds and what it should."""
    return documents.load(FOLDER / "objectives.yaml", Objectives)


def render(objectives: Objectives) -> dict[str, str]:
    """Return the text of each file of rules, by its name."""
    # Prometheus' own templates have the usual delimiters.
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (YAML, not HTML)
        keep_trailing_newline=True,
    )
    known = msgspec.to_builtins(objectives) | {"normal_quantile": f"{norm.isf(objectives.drift.false_alarms):.4f}"}
    head = "# Written by `make rules`: change monitoring/objectives.yaml or monitoring/templates/ instead.\n"
    return {
        name.removesuffix(".j2"): head + environment.get_template(name).render(known)
        for name in environment.list_templates()
    }


def main() -> None:
    for name, text in render(load()).items():
        with atomic(FOLDER / "rules" / name) as path:
            path.write_text(text)
        print(f"rules: {FOLDER / 'rules' / name}")


if __name__ == "__main__":
    run(main)
