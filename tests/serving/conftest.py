"""Real servers: each a process tree of its own on free ports of loopback."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import manifest, statistics
from model.inputs import Pixels
from model.manifest import MODEL
from model.predictor import Predictor, Probabilities
from pipelines.training.dataset import Dataset
from tests.conftest import ROOT, need, wait_for

Json = Any


@dataclass
class Server:
    """A running `python -m serving`."""

    process: subprocess.Popen[bytes]
    log: Path
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['http.port']}"

    def wait(self) -> None:
        """Until it says that it serves; fail when it ends before."""

        def serving() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return bool(self.events("serving"))

        wait_for(serving, "the server")
        (said,) = self.events("serving")
        self.ports = {name: number for name, number in said.items() if name.endswith(".port")}

    def lines(self) -> list[Json]:
        whole = self.log.read_text().split("\n")[:-1]  # the last may still be written
        return [json.loads(line) for line in whole if line.startswith("{")]

    def events(self, action: str) -> list[Json]:
        return [line for line in self.lines() if line.get("event.action") == action]

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http.port"], timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: object = None, expect: int = 200, **headers: str) -> Json:
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        status, _, answer = self.ask(method, path, content, headers)
        assert status == expect, f"{method} {path}: {status} {answer[:500]!r}"
        return json.loads(answer)

    def error(self, path: str, body: object, expect: int = 400, **headers: str) -> str:
        return str(self.json("POST", path, body, expect, **headers)["error"])

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics.port']}/metrics") as answer:
            return str(answer.read().decode())

    def metric(self, line: str) -> float:
        """Return the value of a series, or 0 without it."""
        found = [one for one in self.metrics().splitlines() if one.startswith(f"{line} ")]
        return float(found[0].split()[-1]) if found else 0.0

    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in path.read_text().split()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


Serve = Callable[..., Server]


def start(folder: Path, model: Path, **settings: object) -> Server:
    """Start a server of a model; settings are in lower case and without prefix. It has not said yet that it serves."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    chosen = {"model": model, "port": 0, "grpc_port": 0, "metrics_port": 0, "drain": 0, "shutdown": 20} | settings
    for name, value in chosen.items():
        own["RELEASE" if name == "release" else f"SLIPWAY_{name.upper()}"] = str(value)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "serving"], cwd=ROOT, env=own, stdout=file, stderr=file)
    return Server(process, log)


@pytest.fixture
def serve(tmp_path: Path, trained: Path) -> Iterator[Serve]:
    """A function that starts a server, by default of the small trained model, and waits for it."""
    running: list[Server] = []

    def run(model: Path = trained, *, wait: bool = True, **settings: object) -> Server:
        server = start(tmp_path / f"server-{len(running)}", model, **settings)
        running.append(server)
        if wait:
            server.wait()
        return server

    yield run
    for server in running:
        _end(server)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Iterator[Server]:
    """One server of the small trained model for all tests of a module."""
    running = start(tmp_path_factory.mktemp("server"), trained)
    try:
        running.wait()
        yield running
    finally:
        _end(running)


def _end(server: Server) -> None:
    children = server.workers() if server.process.poll() is None else []
    server.process.terminate()
    try:
        server.process.wait(30)
    except subprocess.TimeoutExpired:
        server.process.kill()
        for child in children:
            os.kill(child, signal.SIGKILL)
        raise


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A CA, a server's certificate for 127.0.0.1, a client's, and one of another CA."""
    need("openssl")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for ca in ("ca", "other"):
        openssl(f"req -x509 -newkey rsa:2048 -nodes -keyout {ca}.key -out {ca}.pem -days 2 -subj /CN={ca}")
    for name, ca in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        openssl(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
        openssl(f"x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -out {name}.pem -days 2 -extfile names")
    return tmp_path


@pytest.fixture(scope="session")
def predictor(trained: Path) -> Predictor:
    return Predictor(trained / MODEL)


@pytest.fixture(scope="session")
def images(predictor: Predictor) -> Pixels:
    """Random pictures of the trained model's shape."""
    return np.random.default_rng(0).integers(0, 256, (40, *predictor.input_shape), np.uint8)


@pytest.fixture(scope="session")
def answers(predictor: Predictor, images: Pixels) -> Probabilities:
    return predictor.predict(images)


@pytest.fixture
def releases(tmp_path: Path, trained: Path) -> Path:
    """A folder with v1.0.0 and v2.0.0, which are the quantized and the float model of the same network."""
    for version, file in (("v1.0.0", MODEL), ("v2.0.0", "model_float32.tflite")):
        make_release(tmp_path / "releases" / version, trained, version, file)
    return tmp_path / "releases"


def make_release(folder: Path, trained: Path, version: str, file: str = MODEL) -> None:
    """Write a release of one of the trained models."""
    folder.mkdir(parents=True)
    shutil.copy(trained / file, folder / MODEL)
    described = json.loads((trained / manifest.NAME).read_text())
    described |= {"version": version, "commit": "c0ffee", "files": {MODEL: manifest.sha256(folder / MODEL)}}
    (folder / manifest.NAME).write_text(json.dumps(described))
    dataset = Dataset(trained / "dataset")
    held = dataset.indices("test")
    answers = np.concatenate([Predictor(folder / MODEL).predict(images) for images in dataset.batches(held)])
    reference = statistics.refer(dataset.batches(held), answers, dataset.schema.labels)
    (folder / statistics.NAME).write_bytes(statistics.encode(reference))


def infer_body(images: Pixels, **extra: object) -> dict[str, object]:
    """Return an Open Inference Protocol request."""
    tensor = {"name": "images", "shape": list(images.shape), "datatype": "UINT8", "data": images.ravel().tolist()}
    return {"inputs": [tensor]} | extra
