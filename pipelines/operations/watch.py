"""The newest model served, asked, and watched on this machine, until Ctrl-C.

python -m pipelines.operations.watch [--rate 20]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from pipelines.command import PipelineError, run
from pipelines.operations import rules, stack
from pipelines.operations.traffic import Traffic
from pipelines.training import split
from pipelines.training.dataset import ARTIFACTS, Dataset


def watch(folder: Path, rate: float) -> None:
    """Run everything in a folder until a signal. Raises PipelineError when a program is missing or does not start."""
    dataset = Dataset()
    images = dataset.images[dataset.indices(split.TEST)]
    with ExitStack() as running:
        for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what runs behind it without the first
            signal.signal(number, signal.default_int_handler)
        http, metrics = stack.free_port(), stack.free_port()
        server = running.enter_context(_server(folder, http, metrics))
        manager = running.enter_context(stack.alertmanager(folder / "alertmanager", _silent()))
        jobs = {"serving": [f"127.0.0.1:{metrics}"]}
        prometheus = running.enter_context(
            stack.prometheus(folder / "prometheus", jobs, rules.FOLDER / "rules", manager)
        )
        traffic = running.enter_context(Traffic([f"http://127.0.0.1:{http}"], images, rate))
        pages = {
            "the server": f"http://127.0.0.1:{http}",
            "its numbers": f"http://127.0.0.1:{metrics}/metrics",
            "objectives": f"{prometheus}/graph?g0.expr=slipway:error_budget:remaining_ratio&g0.tab=0",
            "drift": f"{prometheus}/graph?g0.expr=slipway:drift:psi&g0.tab=0",
            "firing": f"{prometheus}/graph?g0.expr=ALERTS&g0.tab=1",
            "told": manager,
        }
        for name, address in pages.items():
            print(f"{name + ':':<14}{address}")
        print(
            f"\n{rate:g} pictures of the test set a second, until Ctrl-C; meanwhile: make drift PROMETHEUS={prometheus}"
        )
        if sys.stdout.isatty():
            for address in pages.values():
                webbrowser.open(address)
        try:
            code = server.wait()
        except KeyboardInterrupt:
            print(f"\n{sum(traffic.answers.values()):,} answers: {dict(traffic.answers)}")
        else:
            raise PipelineError(f"the server ended with {code}: {(folder / 'server.log').read_text()[-1000:]}")


@contextmanager
def _server(folder: Path, http: int, metrics: int) -> Iterator[subprocess.Popen[bytes]]:
    chosen = {"MODEL": str(ARTIFACTS), "PORT": str(http), "METRICS_PORT": str(metrics), "GRPC": "false", "DRAIN": "0"}
    variables = os.environ | {f"SLIPWAY_{name}": value for name, value in chosen.items()}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "serving"], env=variables, stdout=log, stderr=log)
    try:
        stack.wait(f"http://127.0.0.1:{http}/v2/health/ready", folder / "server.log")
        yield process
    finally:
        stack.end(process)


def _silent() -> str:
    """Return the project's configuration of Alertmanager without anybody to tell."""
    config = yaml.safe_load((rules.FOLDER / "alertmanager.yml").read_text())
    config["receivers"] = [{"name": each["name"]} for each in config["receivers"]]
    return yaml.safe_dump(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20, help="pictures a second [%(default)s]")
    with tempfile.TemporaryDirectory(prefix="slipway-watch-") as folder:
        watch(Path(folder), parser.parse_args().rate)


if __name__ == "__main__":
    run(main)
