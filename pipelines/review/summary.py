"""Print an evaluation in a dozen lines.

python -m pipelines.review.summary reports/index.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.command import run
from pipelines.review.metrics import load
from pipelines.training.dataset import ARTIFACTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="the page to point at")
    page = parser.parse_args().page
    metrics = load(ARTIFACTS)
    test = metrics["test"]
    table = Table(title=f"\n{test['examples']:,} test examples", title_justify="left")
    table.add_column("")
    table.add_column("quantized", justify="right")
    table.add_column("float32", justify="right")
    for name, key in (("accuracy", "accuracy"), ("macro F1", "macro_f1"), ("log loss", "log_loss")):
        table.add_row(name, *(f"{metrics[model][key]:.4f}" for model in ("quantized", "float")))
    table.add_row(
        "calibration error", *(f"{metrics[model]['calibration_error']:.4f}" for model in ("quantized", "float"))
    )
    table.add_row("bytes", *(f"{metrics['size'][model]:,}" for model in ("quantized", "float")))
    console = Console()
    console.print(table)
    found = metrics["quantized"]
    console.print(
        f"accuracy is between {found['accuracy_low']:.4f} and {found['accuracy_high']:.4f} at {test['confidence']:.0%} "
        f"confidence; quantized and float32 agree on {metrics['agreement']:.2%}",
        highlight=False,
    )
    console.print(f"report: {page.resolve()}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(main)
