"""From a fault of a real server to the receiver of an alert: rules, Prometheus and Alertmanager, 120 times faster."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from pipelines import params
from pipelines.operations import rules as recording
from pipelines.operations import stack
from pipelines.operations.traffic import Traffic
from pipelines.training.dataset import Dataset
from pipelines.training.evaluate import evaluate
from pipelines.training.prepare import prepare
from pipelines.training.quantize import quantize
from pipelines.training.train import train
from tests.conftest import DEMONSTRATION, ROOT, need, wait_for
from tests.serving.conftest import Server, start
from tests.system.faults import Faults

FASTER = 120
"""An hour passes in half a minute."""
EVERY = "1s"
RATE = 60
SLACK = 10
"""Seconds."""
PROMISED = recording.load()
PROMISED = replace(
    PROMISED, objectives=replace(PROMISED.objectives, latency=recording.Latency(target=0.95, seconds=0.25))
)
"""A promise that also a busy machine keeps."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def faster(text: str) -> str:
    """Return rules or a configuration with each duration so many times shorter."""
    return re.sub(
        r"(?<![\w.])(\d+)([smhd])(?![\w-])",
        lambda found: f"{max(1, round(int(found[1]) * UNITS[found[2]] * 1000 / FASTER))}ms",
        text,
    )


@dataclass
class Receiver:
    """What Alertmanager sent: name and severity of each alert, once firing, once resolved."""

    fired: dict[tuple[str, str], float] = field(default_factory=dict)
    resolved: dict[tuple[str, str], float] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.fired}

    def take(self, content: dict[str, Any]) -> None:
        for alert in content["alerts"]:
            key = (alert["labels"]["alertname"], alert["labels"]["severity"])
            (self.fired if alert["status"] == "firing" else self.resolved).setdefault(key, time.monotonic())
            self.alerts.append(alert)


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    """A webhook receiver and its address."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class World:
    """Two servers under load that are watched."""

    servers: list[Server]
    traffic: Traffic
    faults: Faults
    receiver: Receiver
    dataset: Dataset
    serve: Callable[..., Server]


@pytest.fixture(scope="module")
def released(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that has learned enough to be sure of its answers, and its reference."""
    folder = tmp_path_factory.mktemp("released")
    chosen = params.load(DEMONSTRATION / "params.yaml")
    chosen = replace(chosen, train=replace(chosen.train, epochs=10))
    prepare(digits, folder / "dataset", chosen.prepare)
    dataset = Dataset(folder / "dataset")
    train(dataset, chosen.train, folder / "model.weights.h5", folder / "history.csv")
    quantize(dataset, folder / "model.weights.h5", folder, chosen)
    evaluate(dataset, folder, chosen)
    return folder


@pytest.fixture
def world(
    released: Path, receiver: tuple[Receiver, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Two servers, load, Prometheus and Alertmanager, an hour of their time after the start."""
    need("prometheus", "prometheus-alertmanager")
    faults = Faults(tmp_path, ROOT)
    for name, value in faults.environment.items():
        monkeypatch.setenv(name, value)
    rules = tmp_path / "rules"
    rules.mkdir()
    for name, text in recording.render(PROMISED).items():
        (rules / name).write_text(faster(text))
    dataset = Dataset(released / "dataset")
    with ExitStack() as running:

        def serve(number: int, **settings: object) -> Server:
            server = start(tmp_path / f"server-{number}", released, **settings)
            running.callback(stack.end, server.process)
            server.wait()
            return server

        servers = [serve(number) for number in range(2)]
        traffic = Traffic([server.url for server in servers], dataset.images[dataset.indices("test")], RATE)
        running.enter_context(traffic)
        manager = running.enter_context(stack.alertmanager(tmp_path / "alertmanager", alertmanager(receiver[1])))
        targets = {"serving": [f"127.0.0.1:{server.ports['metrics.port']}" for server in servers]}
        running.enter_context(stack.prometheus(tmp_path / "prometheus", targets, rules, manager, EVERY))
        found = World(servers, traffic, faults, receiver[0], dataset, serve)
        time.sleep(3600 / FASTER)
        assert not found.receiver.fired, found.receiver.alerts
        yield found


def alertmanager(address: str) -> str:
    """Return the project's configuration with one receiver in place of all."""
    config = yaml.safe_load(faster((ROOT / "monitoring" / "alertmanager.yml").read_text()))
    hook = {"webhook_configs": [{"url": address, "send_resolved": True}]}
    config["receivers"] = [{"name": each["name"]} | hook for each in config["receivers"]]
    return yaml.safe_dump(config)


def dead(world: World) -> None:
    world.servers[1].process.kill()


def back(world: World) -> None:
    ports = world.servers[1].ports
    world.serve(2, port=ports["http.port"], metrics_port=ports["metrics.port"])


def errors(world: World) -> None:
    world.faults.plant(errors=0.05)


def slow(world: World) -> None:
    world.faults.plant(delay=0.3)


def healthy(world: World) -> None:
    world.faults.plant()


def inverted(world: World) -> None:
    world.traffic.change = lambda images: 255 - images


def upright(world: World) -> None:
    world.traffic.change = None


def one_class(world: World) -> None:
    test = world.dataset.indices("test")
    world.traffic.images = world.dataset.images[test[world.dataset.targets[test] == 0]]


def all_classes(world: World) -> None:
    world.traffic.images = world.dataset.images[world.dataset.indices("test")]


def silent(world: World) -> None:
    world.traffic.paused = True


def loud(world: World) -> None:
    world.traffic.paused = False


@dataclass(frozen=True)
class Case:
    alert: str
    severity: str
    begin: Callable[[World], None]
    end: Callable[[World], None]
    minutes: float
    """From the fault until somebody is told, by the windows of the rules."""
    after: float
    """From its end until that is told."""


CASES = (
    Case("AvailabilityBudgetBurn", "page", errors, healthy, 25, 45),
    Case("LatencyBudgetBurn", "page", slow, healthy, 45, 45),
    Case("InputDrift", "ticket", inverted, upright, 30, 75),
    Case("PredictionShift", "ticket", one_class, all_classes, 30, 75),
    Case("NoTraffic", "page", silent, loud, 20, 15),
    Case("ServerDown", "page", dead, back, 5, 10),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.begin.__name__)
def test_the_right_alert_and_only_it(world: World, case: Case) -> None:
    """It is told in the minutes that its windows promise, nothing else is, and its end is told as well."""
    key = (case.alert, case.severity)
    fired = until(lambda: key in world.receiver.fired, case.begin, world, case.minutes)
    resolved = until(lambda: key in world.receiver.resolved, case.end, world, case.after)
    assert world.receiver.names == {case.alert}
    print(f"{case.alert}: fired after {fired:.0f} minutes, resolved {resolved:.0f} minutes after its end")


def until(told: Callable[[], bool], change: Callable[[World], None], world: World, minutes: float) -> float:
    """Change a world and return the minutes of its servers until that is told; fail after so many and a little."""
    started = time.monotonic()
    change(world)
    wait_for(told, f"a message after {change.__name__}", minutes * 60 / FASTER + SLACK)
    return (time.monotonic() - started) * FASTER / 60
