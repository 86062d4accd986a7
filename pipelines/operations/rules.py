"""Rules of Prometheus, written from what is promised: monitoring/objectives.yaml and monitoring/templates/.

python -m pipelines.operations.rules
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Meta
from scipy.stats import norm

from pipelines import documents
from pipelines.command import atomic, run
from pipelines.documents import Section

FOLDER = Path("monitoring")
CUSTOM_RESOURCE = Path("k8s", "components", "monitoring", "prometheus-rule.yaml")
HEAD = "# Written by `make rules`: change monitoring/objectives.yaml or monitoring/templates/ instead.\n"

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
    balancers: str


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
    environment = templates("templates")
    known = msgspec.to_builtins(objectives) | {"normal_quantile": f"{norm.isf(objectives.drift.false_alarms):.4f}"}
    return {
        name.removesuffix(".j2"): HEAD + environment.get_template(name).render(known)
        for name in environment.list_templates()
    }


def templates(folder: str) -> Environment:
    """Return the templates of a folder of monitoring/, with other delimiters than those of Prometheus' own."""
    return Environment(
        loader=FileSystemLoader(FOLDER / folder),
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (YAML, not HTML)
        keep_trailing_newline=True,
    )


def custom_resource(rendered: Mapping[str, str]) -> str:
    """Return the same for the Prometheus operator."""
    groups = [group for text in rendered.values() for group in yaml.safe_load(text)["groups"]]
    return HEAD + yaml.safe_dump(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "model-server"},
            "spec": {"groups": groups},
        },
        sort_keys=False,
        width=1000,
    )


def main() -> None:
    rendered = render(load())
    for path, text in {
        **{FOLDER / "rules" / name: text for name, text in rendered.items()},
        CUSTOM_RESOURCE: custom_resource(rendered),
    }.items():
        with atomic(path) as partial:
            partial.write_text(text)
        print(f"rules: {path}")


if __name__ == "__main__":
    run(main)
