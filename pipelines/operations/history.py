"""Tell Prometheus what commands did: the lines that PIPELINE_LOG gathers, as a text file for its node exporter.

python -m pipelines.operations.history /var/log/slipway/pipeline.log
python -m pipelines.operations.history pipeline.log --metrics /var/lib/prometheus/node-exporter/pipeline.prom
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, Metric, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pipelines.command import PipelineError, run
from pipelines.review.verdict import Verdict

RUNS = "slipway_pipeline_runs_total"
VERDICTS = "slipway_pipeline_verdicts_total"
DURATION = "slipway_pipeline_duration_seconds"
TIME = "slipway_pipeline_timestamp_seconds"

SUCCESS, FAILURE = "success", "failure"
METRICS = Path("reports", "pipeline.prom")


class Line(msgspec.Struct, frozen=True):
    """What is counted of a command's line; it has more."""

    time: datetime = msgspec.field(name="@timestamp")
    command: str = msgspec.field(name="event.action")
    """The module without `pipelines.`, such as `training.train`."""
    outcome: str = msgspec.field(name="event.outcome")
    duration: int = msgspec.field(name="event.duration")
    """Nanoseconds."""
    verdict: Verdict | None = msgspec.field(name="labels.verdict", default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, help="file that PIPELINE_LOG named")
    parser.add_argument("--metrics", type=Path, default=METRICS, help="text file of metrics (default: %(default)s)")
    options = parser.parse_args()
    lines, broken = read(options.log)
    write(options.metrics, lines)
    print(f"{options.metrics}: {len(lines):,} runs")
    if broken:
        raise PipelineError(f"{options.log}: left out {len(broken)} that are no lines of a command: {broken[0]}")


def read(path: Path) -> tuple[list[Line], list[str]]:
    """Return the lines of a log in its order, and what is wrong with others. Raises PipelineError if it is missing."""
    if not path.is_file():
        raise PipelineError(f"{path} is missing: commands write it where PIPELINE_LOG={path} is set")
    found, broken = [], []
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            found.append(msgspec.json.decode(text, type=Line))
        except msgspec.DecodeError as error:
            broken.append(f"line {number}: {error}")
    return found, broken


def write(path: Path, lines: Iterable[Line]) -> None:
    """Write how often commands ended how, what the gate said, and the newest success of each command."""
    runs: Counter[tuple[str, str]] = Counter()
    verdicts = Counter[Verdict]({verdict: 0 for verdict in Verdict if verdict is not Verdict.NOT_JUDGED})
    newest: dict[str, Line] = {}
    for line in lines:
        runs.update({(line.command, SUCCESS): 0, (line.command, FAILURE): 0, (line.command, line.outcome): 1})
        if line.verdict:
            verdicts[line.verdict] += 1
        if line.outcome == SUCCESS:
            newest[line.command] = line
    ran = CounterMetricFamily(RUNS, "How often a command ended how.", labels=["command", "outcome"])
    for labels, count in runs.items():
        ran.add_metric(labels, count)
    judged = CounterMetricFamily(VERDICTS, "How often the gate said what.", labels=["verdict"])
    for verdict, count in verdicts.items():
        judged.add_metric([verdict], count)
    duration = GaugeMetricFamily(DURATION, "How long the newest run that succeeded took.", labels=["command"])
    time = GaugeMetricFamily(TIME, "When it began.", labels=["command"])
    for command, line in newest.items():
        duration.add_metric([command], line.duration / 1e9)
        time.add_metric([command], line.time.timestamp())
    registry = CollectorRegistry()
    registry.register(_Told([ran, judged, duration, time]))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)


class _Told(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


if __name__ == "__main__":
    run(main)
