"""Servers of the same model in one run, each pinned to the first core: ours, four others, and the bare limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.inputs import Pixels
from model.manifest import MODEL
from pipelines.training.dataset import ARTIFACTS

PEERS = Path(__file__).with_name("peers")
UV = Path(sys.executable).with_name("uv")
FIRST_PORT = 18100


@dataclass(frozen=True)
class Body:
    """What a client sends: the bytes and headers of a request."""

    content: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Contender:
    name: str
    url: str
    body: Body
    grpc_port: int = 0
    pid: int = 0


def open_inference(images: Pixels) -> Body:
    tensor = {"name": "images", "shape": images.shape, "datatype": "UINT8", "data": images.ravel().tolist()}
    return Body(json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"})


def nested(images: Pixels) -> Body:
    return Body(json.dumps({"images": images.tolist()}).encode(), {"Content-Type": "application/json"})


def binary(images: Pixels) -> Body:
    parameters = {"binary_data_size": images.nbytes}
    tensor = {"name": "images", "shape": images.shape, "datatype": "UINT8", "parameters": parameters}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return Body(head + images.tobytes(), {"Inference-Header-Content-Length": str(len(head))})


@contextmanager
def running(core: str, images: Pixels, key: str, key_file: Path) -> Iterator[dict[str, Contender]]:
    """Start everybody and give them by name once they answer an image."""
    infer = "/v2/models/classifier/infer"
    peers = {"limit": ("/", open_inference), "mlserver": (infer, open_inference), "kserve": (infer, open_inference)}
    peers |= {"litserve": ("/predict", nested), "bentoml": ("/predict", nested)}
    ours = {"slipway": {}, "slipway, two workers": {"WORKERS": "2"}, "slipway, no metrics": {"METRICS": "false"}}
    ours |= {"slipway, with a key": {"API_KEYS": str(key_file)}}
    with ExitStack() as stack:
        found = {}
        for position, (name, (path, make)) in enumerate(peers.items()):
            port = FIRST_PORT + 10 * position
            command = [
                UV,
                "run",
                "--quiet",
                "--locked",
                "--python",
                sys.executable,
                "--script",
                PEERS / f"on_{name}.py",
            ]
            command += [str(port), str(port + 5), str((ARTIFACTS / MODEL).absolute())]
            pid = stack.enter_context(process(core, command, {}))
            found[name] = Contender(name, f"http://127.0.0.1:{port}{path}", make(images), port + 5, pid)
        for position, (name, settings) in enumerate(ours.items()):
            port = FIRST_PORT + 100 + 10 * position
            ports = {"PORT": str(port), "GRPC_PORT": str(port + 5), "METRICS_PORT": str(port + 6), "DRAIN": "0"}
            environment = {f"SLIPWAY_{setting}": value for setting, value in (settings | ports).items()}
            cores = "0,1" if "two" in name else core
            pid = stack.enter_context(process(cores, [sys.executable, "-m", "serving"], environment))
            body = open_inference(images)
            if "key" in name:
                body = Body(body.content, body.headers | {"Authorization": f"Bearer {key}"})
            found[name] = Contender(name, f"http://127.0.0.1:{port}{infer}", body, port + 5, pid)
        for contender in found.values():
            wait(contender)
        yield found


def wait(contender: Contender, seconds: float = 120) -> None:
    """Return when the contender answers. Raises TimeoutError."""
    request = urllib.request.Request(contender.url, contender.body.content, contender.body.headers)  # noqa: S310 (ours)
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 (ours)
                answer.read()
                return
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{contender.name}: {error.code} {error.read()[:500]!r}") from error
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{contender.name} did not answer within {seconds} s") from None
            time.sleep(0.005)


@contextmanager
def process(cores: str, command: Sequence[object], environment: dict[str, str]) -> Iterator[int]:
    own = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}}
    started = subprocess.Popen(
        ["taskset", "-c", cores, *map(str, command)],
        env=own | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield started.pid
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def pictures(count: int) -> Pixels:
    from pipelines.training.dataset import Dataset  # noqa: PLC0415 (slow, and peers do not need it)

    return np.ascontiguousarray(Dataset().images[:count])
