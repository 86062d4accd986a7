"""Measure how long the tests take in a fresh clone of the last commit; the table goes into docs/tests.md.

python -m benchmarks.suite          three quarters of an hour
python -m benchmarks.suite --dry    does not write the page

Packages come from the caches of uv and pip. It ends with exit code 1 when something takes longer than it may.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from junitparser import JUnitXml, TestCase, TestSuite

from benchmarks import page
from pipelines.command import PipelineError, run

PAGE = Path("docs", "tests.md")
GOALS = {"lint": 60, "check": 180, "test": 1200}
"""Seconds of a target, on two cores with nothing else to do."""
SLOWEST = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="only print")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone, report = Path(folder) / "clone", Path(folder) / "report.xml"
        subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
        seconds = {target: _seconds(target, clone, report) for target in GOALS}
        lines = [*_targets(seconds), "", *_files(report)]
    print("\n".join(lines))
    if not options.dry:
        page.write(PAGE, "times", lines)
    if late := [target for target, taken in seconds.items() if taken > GOALS[target]]:
        sys.exit(f"error: make {', make '.join(late)} took longer than on {PAGE}: see which file has grown")


def _seconds(target: str, clone: Path, report: Path) -> float:
    print(f"make {target} ...", flush=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTEST_", "VIRTUAL_ENV"))}
    started = time.monotonic()
    result = subprocess.run(
        ["make", target],
        cwd=clone,
        env=own | {"PYTEST_ADDOPTS": f"--junitxml={report}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        raise PipelineError(f"make {target} failed, so that its time says nothing:\n{result.stdout[-4000:]}")
    return time.monotonic() - started


def _targets(seconds: dict[str, float]) -> list[str]:
    rows = [
        f"| `make {target}` | {taken / 60:.1f} min | {GOALS[target] / 60:.0f} min |"
        for target, taken in seconds.items()
    ]
    return ["| fresh clone, packages cached | takes | may take |", "| --- | ---: | ---: |", *rows]


def _files(report: Path) -> list[str]:
    """Return a table of the files whose tests take longest, set-ups included."""
    taken, tests = defaultdict[str, float](float), defaultdict[str, int](int)
    for suite in JUnitXml.fromfile(str(report)):
        for case in suite if isinstance(suite, TestSuite) else []:
            if isinstance(case, TestCase):
                name = str(case.classname).removeprefix("tests.").replace(".", "/")
                taken[name] += case.time or 0
                tests[name] += 1
    longest = sorted(taken, key=lambda name: -taken[name])[:SLOWEST]
    rows = [f"| `tests/{name}.py` | {taken[name]:.0f} s | {tests[name]} |" for name in longest]
    total = f"All {sum(tests.values()):,} tests: {sum(taken.values()):,.0f} s on {os.cpu_count()} cores."
    return ["| file | its tests take | tests |", "| --- | ---: | ---: |", *rows, "", total]


if __name__ == "__main__":
    run(main)
