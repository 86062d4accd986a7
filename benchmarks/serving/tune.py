"""Find the settings that answer most requests of this model on this machine, and draw what the others gave.

make tune
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.serving.clients import Speed, need, wrk
from benchmarks.serving.contenders import FIRST_PORT, Contender, open_inference, pictures, process, wait
from pipelines.command import atomic, run

PORT = FIRST_PORT + 960
CONNECTIONS = (1, 16, 64)
ALIKE = 0.05
"""A simpler choice that answers up to this share fewer requests is as good: rounds differ by more."""
Choice = Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    choice: Choice
    speeds: dict[int, Speed]

    @property
    def rate(self) -> float:
        return self.speeds[CONNECTIONS[-1]].rate

    @property
    def name(self) -> str:
        return ", ".join(f"{name.removeprefix('SLIPWAY_').lower()} {value}" for name, value in self.choice.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="of a measurement [3]")
    parser.add_argument("--settings", type=Path, default=Path("reports/tune.env"), help="what `make serve` reads")
    parser.add_argument("--plot", type=Path, default=Path("reports/tune.png"))
    given = parser.parse_args()
    need()
    console = Console()
    found = []
    for choice in processes():
        found.append(measure(choice, given.seconds))
        console.print(f"{found[-1].name}: {found[-1].rate:,.0f} requests/s")
    base = best(found)
    for choice in batches(base.choice):
        found.append(measure(choice, given.seconds))
        console.print(f"{found[-1].name}: {found[-1].rate:,.0f} requests/s")
    chosen = best(found)
    _print(console, found, chosen)
    with atomic(given.settings) as partial:
        partial.write_text("".join(f"{name}={value}\n" for name, value in chosen.choice.items()))
    draw(found, chosen, given.plot)
    console.print(f"settings: {given.settings}\nplot: {given.plot}")


def processes() -> Iterator[Choice]:
    """Give workers and threads, the simplest first."""
    cores = len(os.sched_getaffinity(0))
    for workers in sorted({1, max(1, cores // 2), cores}):
        for threads in (0, 1, 2):
            yield {"SLIPWAY_WORKERS": str(workers), "SLIPWAY_THREADS": str(threads)}


def batches(base: Choice) -> Iterator[Choice]:
    """Give ways of merging, the simplest first; the default is known already."""
    for size, seconds in (("1", "0"), ("128", "0"), ("32", "0.001"), ("128", "0.005")):
        yield {**base, "SLIPWAY_MAX_BATCH": size, "SLIPWAY_BATCH_WAIT": seconds}


def measure(choice: Choice, seconds: int) -> Measured:
    """Return the speed of a server with these settings, on all cores, which the client shares."""
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    settings = {"PORT": str(PORT), "GRPC": "false", "METRICS_PORT": str(PORT + 1), "DRAIN": "0", "ACCESS_LOG": "false"}
    environment = {f"SLIPWAY_{name}": value for name, value in settings.items()} | dict(choice)
    contender = Contender("slipway", f"http://127.0.0.1:{PORT}/v2/models/classifier/infer", open_inference(pictures(1)))
    with process(cores, [sys.executable, "-m", "serving"], environment):
        wait(contender)
        return Measured(choice, {n: wrk(contender, contender.body, n, seconds, cores) for n in CONNECTIONS})


def best(found: list[Measured]) -> Measured:
    """Return the first, which is the simplest, of those that are as good as the fastest."""
    fastest = max(one.rate for one in found)
    return next(one for one in found if one.rate >= (1 - ALIKE) * fastest)


def _print(console: Console, found: list[Measured], chosen: Measured) -> None:
    table = Table("settings", *(f"{n} connections" for n in CONNECTIONS), title="Requests a second, p99 in ms")
    for one in found:
        cells = [f"{speed.rate:,.0f}, {speed.p99:.1f}" for speed in one.speeds.values()]
        table.add_row(one.name, *cells, style="bold" if one is chosen else None)
    console.print(table)


def draw(found: list[Measured], chosen: Measured, path: Path) -> None:
    from matplotlib import pyplot as plt  # noqa: PLC0415 (slow, and the numbers do without)

    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    for one in found:
        points = [(speed.p99, speed.rate) for speed in one.speeds.values()]
        width, alpha = (2.5, 1.0) if one is chosen else (1.0, 0.5)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=one.name, lw=width, alpha=alpha)
    axes.set(xscale="log", xlabel=f"p99 in ms, at {', '.join(map(str, CONNECTIONS))} connections", ylabel="requests/s")
    figure.legend(loc="outside lower center", ncols=2, fontsize=7)
    with atomic(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


if __name__ == "__main__":
    run(main)
