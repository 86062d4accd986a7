"""From `git push` to the verdict of a review, on the forge of this machine; the table goes into docs/ci.md.

python -m benchmarks.forge          ten minutes
python -m benchmarks.forge --dry    does not write the page

The project is the last commit. All jobs run, as they do in real life, but what is left of a pipeline after the verdict
is stopped. `cold` makes the environment and trains; the others find both.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import page
from pipelines.command import PipelineError, run

PAGE = Path("docs", "ci.md")
IDENTITY = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.com")
JOB = re.compile(r"remote: +([a-z-]+): (starting|finished)")
Times = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="only print")
    parser.add_argument("--repeats", type=int, default=3, help="pushes of each kind (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder) / "project", options.repeats)
    lines = ["| push | verdict after | of it `repro` | `review` |", "| --- | ---: | ---: | ---: |"]
    for name, times in rows.items():
        cells = [times[part] for part in ("verdict", "repro", "review")]
        lines.append(f"| {name} | {' | '.join(f'{seconds:.0f} s' for seconds in cells)} |")
    lines += [
        "",
        f"Medians of {options.repeats}, but one first push; on {os.cpu_count()} cores, with all jobs at once.",
    ]
    print("\n".join(lines))
    if not options.dry:
        page.write(PAGE, "times", lines)


def measure(project: Path, repeats: int) -> dict[str, Times]:
    """Return the seconds of each kind of push: to the verdict, and of the jobs on the way to it."""
    _call("git", "clone", "--quiet", ".", str(project))
    _call("make", "forge", folder=project)
    rows = {"cold: the first, which trains": _push(project, "main")}
    for number in range(repeats):
        _change(project, f"words-{number}", "README.md", r"\Z", f"\nLine {number}.\n")
        _change(project, f"model-{number}", "params.yaml", r"seed: \d+", f"seed: {number + 100}")
    for name, kind in (("no change of the model", "words"), ("a change of the training", "model")):
        found = [_push(project, f"{kind}-{number}") for number in range(repeats)]
        rows[name] = {part: statistics.median(times[part] for times in found) for part in found[0]}
    return rows


def _change(project: Path, branch: str, name: str, pattern: str, text: str) -> None:
    _call("git", "switch", "--quiet", "--create", branch, "origin/HEAD", folder=project)
    path = project / name
    path.write_text(re.sub(pattern, text, path.read_text(), count=1))
    _call("git", *IDENTITY, "commit", "--quiet", "--all", "--message", branch, folder=project)


def _push(project: Path, branch: str) -> Times:
    started, times = time.perf_counter(), {}
    command = ["git", "push", "-o", "merge_request.create", "forge", f"{branch}:{branch}"]
    if branch == "main":
        command = ["git", "push", "forge", "HEAD:main"]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        begun: Times = {}
        printed = ""
        for line in process.stderr or []:
            printed += line
            if told := JOB.match(line):
                now = time.perf_counter() - started
                if told[2] == "starting":
                    begun[told[1]] = now
                else:
                    times[told[1]] = now - begun[told[1]]
                    times["verdict"] = now
            if "review" in times:
                os.killpg(process.pid, signal.SIGINT)
                break
        else:
            raise PipelineError(f"{branch} came to no verdict:\n{printed}")
        process.communicate()
    return times


def _call(*command: str, folder: Path | None = None) -> None:
    own = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(command, cwd=folder, env=own, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    run(main)
