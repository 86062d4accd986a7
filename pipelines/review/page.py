"""One self-contained HTML page of an evaluation: it needs no network and may be mailed or archived.

python -m pipelines.review.page reports/index.html
"""

from __future__ import annotations

import argparse
import base64
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from model import manifest
from pipelines.command import atomic, run
from pipelines.review.markdown import line
from pipelines.review.metrics import load
from pipelines.review.report import exposure, numbers
from pipelines.review.verdict import BUDGETS, Finding, Review, worst_first
from pipelines.training.dataset import ARTIFACTS, Dataset

PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}
METRICS = "metrics.json"
MOST_CHARACTERS = 200
"""Of a name that somebody gave."""
SCALE = 3
"""Margins on either side of zero that the chart of changes shows."""


def render(folder: Path, review: Review | None = None, pictures: Path | None = None) -> str:
    """Return the page of the evaluated model in a folder. Raises PipelineError when a part of it is missing.

    With a review it opens with the verdict; pictures: the folder that pipelines/review/pictures.py filled.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2"]), undefined=StrictUndefined
    )
    environment.filters["line"] = lambda text: line(str(text))[:MOST_CHARACTERS]
    environment.filters["percent"] = lambda share: f"{share:.2%}"
    environment.filters["picture"] = lambda name: _embed(folder / "plots" / name)
    described = manifest.load(folder)
    metrics = load(folder)
    found = metrics["quantized"]
    this_model = {
        "accuracy": found["accuracy"],
        "low": found["accuracy_low"],
        "high": found["accuracy_high"],
        "examples": metrics["test"]["examples"],
    }
    drawn = sorted(path for path in pictures.iterdir() if path.suffix in PICTURES) if pictures else []
    return environment.get_template("page.html.j2").render(
        metrics=metrics,
        models={"this model": this_model} | {name.replace("_", " "): row for name, row in metrics["baselines"].items()},
        schema=Dataset(folder / "dataset").schema,
        manifest=described,
        params=yaml.safe_dump(described.params, sort_keys=False),
        review=review,
        rows=[(row, span(row), numbers(row)) for row in worst_first(review.findings)] if review else [],
        exposure=exposure(review) if review else [],
        theirs={path.stem: _embed(path) for path in drawn},
    )


def span(finding: Finding) -> dict[str, float] | None:
    """Return where a change and its interval are drawn, in percent of the chart's width; a gain is to the right."""
    if finding.change is None or finding.low is None or finding.high is None or not finding.limit:
        return None
    ends = (finding.low, finding.change, finding.high)
    if finding.rule in BUDGETS:  # a ratio: 1 is no change
        gains = sorted((1 - value) / (finding.limit - 1 or 1) for value in ends)
    else:
        gains = sorted(-value / finding.limit for value in ends)
    low, middle, high = (50 + 50 * max(min(gain, SCALE), -SCALE) / SCALE for gain in gains)
    return {"low": low, "middle": middle, "width": high - low}


def _embed(path: Path) -> str:
    return f"data:{PICTURES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def write(text: str, page: Path) -> None:
    with atomic(page) as partial:
        partial.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="the page to write")
    page: Path = parser.parse_args().path
    write(render(ARTIFACTS), page)
    write((ARTIFACTS / METRICS).read_text(), page.with_name(METRICS))  # for programs, where the page is published


if __name__ == "__main__":
    run(main)
