"""Two hosts that serve two releases behind a load balancer, and all that a dashboard is fed by, on one machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from model import manifest
from model.inputs import Pixels
from model.manifest import MODEL
from pipelines.operations import history, stack
from pipelines.operations.history import Line
from pipelines.operations.traffic import Traffic
from pipelines.recovery import metrics
from pipelines.recovery.backup import GIT
from pipelines.recovery.snapshots import Entry, Snapshot
from pipelines.review.verdict import Verdict
from tests.ansible.plugins import load as plugin
from tests.conftest import ROOT, wait_for
from tests.serving.conftest import Server, make_release, start
from tests.system.prometheus import Prometheus

PROGRAMS = ("prometheus", "prometheus-node-exporter", "haproxy")
HOSTS = ("127.0.0.11", "127.0.0.12")
STABLE, CANARY = "v1.0.0", "v1.1.0"
DAY = 86400
BALANCER = """
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend public
  bind 127.0.0.1:{port}
  default_backend digits
backend digits
  {servers}
frontend metrics
  bind 127.0.0.1:{metrics}
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""


@dataclass
class Watched:
    prometheus: Prometheus
    traffic: Traffic


@contextmanager
def watched(folder: Path, model: Path, images: Pixels, rate: float) -> Iterator[Watched]:
    """Run it all, with so many requests a second. model: a folder like artifacts/."""
    _release(folder / STABLE, model, STABLE, MODEL)
    _release(folder / CANARY, model, CANARY, "model_float32.tflite")
    with ExitStack() as running:
        servers = [
            _serve(running, folder, host, shadow=shadow) for host, shadow in zip(HOSTS, (False, True), strict=True)
        ]
        port, balancer = stack.free_port(), stack.free_port()
        lines = [f"server host-{number} {_address(one, 'http.port')}" for number, one in enumerate(servers)]
        config = BALANCER.format(port=port, metrics=balancer, servers="\n  ".join(lines))
        (folder / "haproxy.cfg").write_text(config)
        _run(running, folder, "haproxy", "-db", "-f", "haproxy.cfg")
        (folder / "texts").mkdir()
        exporters = [f"{host}:{stack.free_port()}" for host in HOSTS]
        for host, exporter in zip(HOSTS, exporters, strict=True):
            texts = folder / "texts" / host
            texts.mkdir()
            _write_texts(texts)
            options = (f"--web.listen-address={exporter}", f"--collector.textfile.directory={texts}")
            _run(running, folder, "prometheus-node-exporter", *options)
        traffic = running.enter_context(Traffic([f"http://127.0.0.1:{port}"], images, rate))
        jobs = {
            "serving": [_address(server, "metrics.port") for server in servers],
            "node": exporters,
            "balancers": [f"127.0.0.1:{balancer}"],
        }
        rules = ROOT / "monitoring" / "rules"
        address = running.enter_context(stack.prometheus(folder / "prometheus", jobs, rules, every="1s"))
        _incidents(servers)
        yield Watched(Prometheus(address), traffic)


def _release(folder: Path, model: Path, version: str, served: str) -> None:
    make_release(folder, model, version, served)
    file = folder / manifest.NAME
    days = {"committed": 12 if version == STABLE else 3, "data_committed": 90}
    dated = {name: time.time() - number * DAY for name, number in days.items()}
    file.write_text(json.dumps(json.loads(file.read_text()) | dated))


def _serve(running: ExitStack, folder: Path, host: str, *, shadow: bool) -> Server:
    canary = {"canary": folder / CANARY, "canary_percent": 30, "canary_shadow": shadow}
    server = start(folder / host, folder / STABLE, host=host, workers=2, **canary)
    running.callback(server.stop)
    server.wait()
    return server


def _address(server: Server, port: str) -> str:
    return f"{server.log.parent.name}:{server.ports[port]}"


def _run(running: ExitStack, folder: Path, *command: str) -> None:
    with (folder / f"{command[0]}.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    running.callback(process.wait, 30)
    running.callback(process.terminate)


def _write_texts(folder: Path) -> None:
    """What backups, deployments and the pipeline's commands leave for node exporter, by their own code."""
    now = datetime.now(UTC)
    kept = Entry(GIT, f"sha256:{'0' * 64}", 3_400_000)
    made = Snapshot(time=now, folder="", references={}, environments={}, git=kept, data=[], releases={})
    metrics.write(folder / "backup.prom", made, 120_000, 4.2, 7)
    metrics.write_drill(folder / "drill.prom", time.time() - 5 * DAY, 61.0)
    deployed = SimpleNamespace(params={"by": "ci", "unit": "slipway", "metrics": str(folder)})
    plugin("library/deployment").note(deployed, "success", "v0.9.0", STABLE)
    minutes = {"training.prepare": 0.1, "training.train": 2.0, "training.quantize": 0.4, "training.evaluate": 0.3}
    lines = [
        Line(time=now, command=command, outcome=history.SUCCESS, duration=int(long * 60e9))
        for command, long in minutes.items()
    ]
    for verdict, count in {Verdict.PASS: 9, Verdict.FAIL: 2, Verdict.INCONCLUSIVE: 1}.items():
        outcome = history.SUCCESS if verdict is Verdict.PASS else history.FAILURE
        lines += count * [Line(time=now, command="review", outcome=outcome, duration=8 * 10**9, verdict=verdict)]
    history.write(folder / "pipeline.prom", lines)


def _incidents(servers: list[Server]) -> None:
    """A worker dies, and a server is told to read its release again: both are counted from then on."""
    os.kill(servers[0].workers()[0], signal.SIGKILL)
    servers[1].process.send_signal(signal.SIGHUP)
    wait_for(lambda: bool(servers[1].events("swapped")), "the swap")
