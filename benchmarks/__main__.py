"""Measure and print; nothing passes or fails.

make bench                      everything
python -m benchmarks prepare    one of: fresh, predictor, prepare, repro, review
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from benchmarks import fresh, predictor, prepare, repro, review
from pipelines.command import run

BENCHMARKS = {
    "fresh": fresh.measure,
    "predictor": predictor.measure,
    "prepare": prepare.measure,
    "repro": repro.measure,
    "review": review.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all without any")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    table = Table("benchmark", "measured", "goal", title="Medians; contenders take turns in one run")
    for name in names:
        for what, measured, goal in BENCHMARKS[name]():
            table.add_row(what, measured, goal)
    Console().print(table)


if __name__ == "__main__":
    run(main)
