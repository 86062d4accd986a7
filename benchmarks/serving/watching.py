"""What it costs the server to be watched: with statistics for drift, without them, and without any metrics.

python -m benchmarks.serving.watching
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.serving import contenders
from benchmarks.serving.__main__ import CLIENT_CORE, FEW, SERVER_CORE
from benchmarks.serving.clients import need, wrk
from benchmarks.serving.contenders import Contender
from model import manifest
from model.manifest import FLOAT_MODEL, MODEL
from pipelines.command import run
from pipelines.training.dataset import ARTIFACTS

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
    rates = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        for name in (MODEL, FLOAT_MODEL, manifest.NAME):
            shutil.copy(ARTIFACTS / name, folder)
        found = []
        for position, (name, settings) in enumerate(SETTINGS.items()):
            port = FIRST_PORT + 10 * position
            model = ARTIFACTS.absolute() if name == "drift" else folder
            own = {"MODEL": str(model), "PORT": str(port), "METRICS_PORT": str(port + 1), "GRPC": "false", "DRAIN": "0"}
            variables = {f"SLIPWAY_{setting}": value for setting, value in (own | settings).items()}
            running.enter_context(contenders.process(SERVER_CORE, [sys.executable, "-m", "serving"], variables))
            address = f"http://127.0.0.1:{port}/v2/models/classifier/infer"
            found.append(Contender(name, address, contenders.binary(images)))
            contenders.wait(found[-1])
        for _ in track(range(given.rounds), "Everybody takes turns", console=Console(stderr=True)):
            for each in random.sample(found, len(found)):
                rates[each.name].append(wrk(each, each.body, FEW, given.seconds, CLIENT_CORE).rate)
    table = Table("server", "requests/s", "of that without drift", title="Medians; ratios of turns of the same round")
    for name, measured in rates.items():
        ratios = [one / other for one, other in zip(measured, rates["no drift"], strict=True)]
        table.add_row(name, f"{statistics.median(measured):,.0f}", f"{statistics.median(ratios):.3f}")
    Console().print(table)


if __name__ == "__main__":
    run(main)
