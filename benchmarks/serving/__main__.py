"""The server beside others that people use: the same model, the same core, taking turns in one run.

make bench-serving
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.serving import contenders
from benchmarks.serving.clients import Speed, h2load, need, wrk
from benchmarks.serving.contenders import Contender
from pipelines.command import run

SERVER_CORE, CLIENT_CORE = "0", "1"
PEERS = ("mlserver", "kserve", "litserve", "bentoml")
FEW, MANY = 16, 64
Speeds = dict[tuple[str, str], list[Speed]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="times that everybody has a turn [7]")
    parser.add_argument("--seconds", type=int, default=2, help="of a turn [2]")
    given = parser.parse_args()
    need()
    with tempfile.TemporaryDirectory() as folder:
        key_file = Path(folder) / "keys.json"
        command = [
            sys.executable,
            "-m",
            "serving.keys",
            str(key_file),
            "issue",
            "--name",
            "bench",
            "--scope",
            "predict",
        ]
        key = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
        one = contenders.pictures(1)
        with contenders.running(SERVER_CORE, one, key, key_file) as found:
            speeds = measure(found, given.rounds, given.seconds)
            memory = resident(found["slipway"])
        starts = [cold_start() for _ in range(5)]
    report(speeds, memory, statistics.median(starts))


def measure(found: dict[str, Contender], rounds: int, seconds: int) -> Speeds:
    """Return every turn's speed by case and contender."""
    speeds: Speeds = defaultdict(list)
    one, many = contenders.pictures(1), contenders.pictures(32)
    cases = [("json", name, contender.body, FEW) for name, contender in found.items()]
    cases += [("json, 64 connections", name, found[name].body, MANY) for name in ("slipway", *PEERS)]
    cases += [("binary", name, contenders.binary(one), FEW) for name in ("limit", "slipway")]
    cases += [("batch of 32", name, contenders.open_inference(many), FEW) for name in ("slipway", "mlserver")]
    large = contenders.binary(contenders.pictures(256))
    cases += [("batch of 256, binary", name, large, FEW) for name in ("slipway", "slipway, two workers")]
    for _ in track(range(rounds), "Everybody takes turns", console=Console(stderr=True)):
        for case, name, body, connections in cases:
            speeds[case, name].append(wrk(found[name], body, connections, seconds, CLIENT_CORE))
        for name in ("slipway", "mlserver", "kserve"):
            speeds["grpc", name].append(h2load(found[name], one, FEW, seconds, CLIENT_CORE))
    return speeds


def cold_start() -> float:
    """Return the seconds from the command to the first answer."""
    port = contenders.FIRST_PORT + 900
    environment = os.environ | {"SLIPWAY_PORT": str(port), "SLIPWAY_GRPC_PORT": str(port + 1), "SLIPWAY_DRAIN": "0"}
    environment |= {"SLIPWAY_METRICS_PORT": str(port + 2)}
    url = f"http://127.0.0.1:{port}/v2/models/classifier/infer"
    contender = Contender("slipway", url, contenders.open_inference(contenders.pictures(1)))
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "serving"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        contenders.wait(contender)
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def resident(server: Contender) -> float:
    """Return the worker's resident megabytes after everything that it has answered."""
    (child,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return int(Path(f"/proc/{child}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def report(speeds: Speeds, memory: float, start: float) -> None:
    """Print medians and, for ratios, the median of each round's ratio, because the machine's speed changes."""
    table = Table("case", "server", "requests/s", "p99 ms", title="Medians; every server on one core, taking turns")
    for (case, name), turns in speeds.items():
        rate = statistics.median(turn.rate for turn in turns)
        table.add_row(case, name, f"{rate:,.0f}", f"{statistics.median(turn.p99 for turn in turns):.1f}")
    Console().print(table)

    def ratio(case: str, name: str, *others: str) -> float:
        rounds = zip(*(speeds[case, one] for one in (name, *others)), strict=True)
        ratios = [turns[0].rate / max(turn.rate for turn in turns[1:]) for turns in rounds]
        return float(statistics.median(ratios))

    slow = zip(*(speeds["json, 64 connections", name] for name in ("slipway", *PEERS)), strict=True)
    p99 = statistics.median(turns[0].p99 / min(turn.p99 for turn in turns[1:]) for turns in slow)
    both = ratio("json", "slipway, with a key", "slipway, no metrics")
    goals = Table("what", "measured", "goal")
    for what, measured, goal in (
        ("JSON, against the fastest peer", f"{ratio('json', 'slipway', *PEERS):.1f}", "at least 6"),
        ("JSON, against the bare HTTP limit", f"{ratio('json', 'slipway', 'limit'):.2f}", "at least 0.40"),
        ("binary, against the bare HTTP limit", f"{ratio('binary', 'slipway', 'limit'):.2f}", "at least 0.55"),
        ("p99 at 64 connections, of the best peer's", f"{p99:.2f}", "under 0.25"),
        ("batch of 32, against MLServer", f"{ratio('batch of 32', 'slipway', 'mlserver'):.1f}", "at least 1.7"),
        ("gRPC, against MLServer", f"{ratio('grpc', 'slipway', 'mlserver'):.1f}", "at least 3"),
        ("cost of metrics and authentication", f"{1 - both:.1%}", "under 10%"),
        (
            "two workers on two cores, against one",
            f"{ratio('batch of 256, binary', 'slipway, two workers', 'slipway'):.2f}",
            "at least 1.8",
        ),
        ("cold start to the first answer", f"{start:.2f} s", "under 1 s"),
        ("memory of a worker after load", f"{memory:.0f} MB", "under 90 MB"),
    ):
        goals.add_row(what, measured, goal)
    Console().print(goals)


if __name__ == "__main__":
    run(main)
