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
from pipelines.review.metrics import load
from pipelines.training.dataset import ARTIFACTS, Dataset

PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}


def render(folder: Path) -> str:
    """Return the page of the evaluated model in a folder. Raises PipelineError when a part of it is missing."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2"]), undefined=StrictUndefined
    )
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
    return environment.get_template("page.html.j2").render(
        metrics=metrics,
        models={"this model": this_model} | {name.replace("_", " "): row for name, row in metrics["baselines"].items()},
        schema=Dataset(folder / "dataset").schema,
        manifest=described,
        params=yaml.safe_dump(described.params, sort_keys=False),
    )


def _embed(path: Path) -> str:
    return f"data:{PICTURES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="the page to write")
    page = parser.parse_args().path
    text = render(ARTIFACTS)
    with atomic(page) as partial:
        partial.write_text(text)


if __name__ == "__main__":
    run(main)
