"""What it costs the server to be watched: with statistics for drift, without them, and without any metrics.

python -m benchmarks.serving.watching
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.serving import contenders
from benchmarks.serving.__main__ import CLIENT_CORE, FEW, SERVER_CORE
from benchmarks.serving.clients import need, wrk
from benchmarks.serving.contenders import Contender
from model import manifest
from model import statistics as reference
from model.manifest import FLOAT_MODEL, MODEL
from model.predictor import Predictor
from pipelines.command import run
from pipelines.training.dataset import ARTIFACTS
from serving import observation
from serving.release import Release
from serving.tally import Tally
from serving.telemetry import SAMPLED
from serving.worker import FLUSH

FIRST_PORT = 18300
SETTINGS = {
    "drift": {},
    "no drift": {},
    "no metrics": {"METRICS": "false"},
    "no drift, no log": {"ACCESS_LOG": "false"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="times that everybody has a turn [15]")
    parser.add_argument("--seconds", type=int, default=3, help="of a turn [3]")
    given = parser.parse_args()
    need()
    images = contenders.pictures(1)
    rates, costs = defaultdict(list), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        for name in (MODEL, FLOAT_MODEL, manifest.NAME):
            shutil.copy(ARTIFACTS / name, folder)
        found = []
        for position, (name, settings) in enumerate(SETTINGS.items()):
            port = FIRST_PORT + 10 * position
            model = ARTIFACTS.absolute() if name == "drift" else folder
            own = {"MODEL": str(model), "PORT": str(port), "METRICS_PORT": str(port + 1), "GRPC": "false", "DRAIN": "0"}
            variables = {f"SLIPWAY_{setting}": value for setting, value in (own | settings).items()}
            pid = running.enter_context(contenders.process(SERVER_CORE, [sys.executable, "-m", "serving"], variables))
            address = f"http://127.0.0.1:{port}/v2/models/classifier/infer"
            found.append(Contender(name, address, contenders.binary(images), pid=pid))
            contenders.wait(found[-1])
        for _ in track(range(given.rounds), "Everybody takes turns", console=Console(stderr=True)):
            for each in random.sample(found, len(found)):
                before = processor_time(each.pid)
                rates[each.name].append(wrk(each, each.body, FEW, given.seconds, CLIENT_CORE).rate)
                spent = processor_time(each.pid) - before
                costs[each.name].append(1e6 * spent / (rates[each.name][-1] * given.seconds))
    table = Table("server", "requests/s", "to no drift", "processor µs a request", "to no drift", title="Medians")
    for name in SETTINGS:
        cells = [f"{statistics.median(found[name]):,.1f}" for found in (rates, costs)]
        ratios = [
            f"{statistics.median(one / other for one, other in zip(found[name], found['no drift'], strict=True)):.3f}"
            for found in (rates, costs)
        ]
        table.add_row(name, cells[0], ratios[0], cells[1], ratios[1])
    Console().print(table)
    for shape in (images.shape[1:], (224, 224, 3)):
        print(f"a worker's statistics of {'x'.join(map(str, shape))}: {counting(shape):.2%} of a processor at most")


def counting(shape: tuple[int, ...], answered: int = 4000) -> float:
    """Return the share of a processor that counting takes, of a worker that answers so many between two flushes."""
    random = np.random.default_rng(0)
    seen = random.integers(0, 256, (SAMPLED, *shape), np.uint8)
    answers = random.random((answered, 10), np.float32)
    held = reference.refer([seen], answers, [str(number) for number in range(10)])
    release = Release("bench", manifest.load(ARTIFACTS), Predictor(ARTIFACTS / MODEL), (), held)
    spent = []
    for _ in range(50):
        tally, before = Tally(), time.process_time()
        observation.describe(tally, release)
        observation.count(tally, release, reference.of_answers(answers))
        observation.count(tally, release, reference.of_images(seen))
        spent.append(time.process_time() - before)
    return statistics.median(spent) / FLUSH


def processor_time(pid: int) -> float:
    """Return the seconds that a supervisor and its workers have had of a processor."""
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in (pid, *workers)]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    run(main)
