"""docs/serving.md is true: its commands run on the model that `make` made."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from benchmarks.serving import tune
from benchmarks.serving.clients import Speed
from benchmarks.serving.tune import Measured
from model import manifest
from model.inputs import to_batch
from model.manifest import MODEL
from model.predictor import Predictor
from pipelines.training.dataset import Dataset
from serving import protocols
from serving.config import Settings, variable
from tests.conftest import ROOT, need, wait_for

PAGE = (ROOT / "docs" / "serving.md").read_text()
ARTIFACTS = ROOT / "artifacts"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `make serve`, on free ports."""
    log = tmp_path_factory.mktemp("serve") / "log"
    ports = {"SLIPWAY_PORT": "0", "SLIPWAY_GRPC_PORT": "0", "SLIPWAY_METRICS_PORT": "0", "SLIPWAY_DRAIN": "0"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["make", "serve"], cwd=ROOT, env=os.environ | ports, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait_for(lambda: b'"http.port"' in log.read_bytes() or process.poll() is not None, "make serve", 300)
        found = re.search(r'"http.port":(\d+)', log.read_text())
        assert found, log.read_text()
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = Dataset(ARTIFACTS / "dataset").images[0]
    path = tmp_path / "picture.png"
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.asarray(pixels)).save(path)
    return path


def test_the_client_and_curl_get_the_models_answer(url: str, picture: Path) -> None:
    """The two commands of the page, as they stand there but for the address."""
    need("curl")
    predictor = Predictor(ARTIFACTS / MODEL)
    answers = predictor.predict(to_batch([picture.read_bytes()], predictor.input_shape))[0]
    label = manifest.load(ARTIFACTS).labels[answers.argmax()]
    assert "python -m serving.client picture.png" in PAGE
    assert ".venv/bin/python -m serving.client picture.png  #" in (ROOT / "README.md").read_text()
    command = [ROOT / ".venv/bin/python", "-m", "serving.client", "--url", url, "--expect", label, picture]
    assert label in subprocess.check_output(command, cwd=ROOT, text=True)
    (line,) = re.findall(r"^curl (.*)$", PAGE, re.MULTILINE)
    arguments = line.replace("http://127.0.0.1:8080", url).replace("picture.jpg", str(picture)).split()
    found = json.loads(subprocess.check_output(["curl", "--silent", *arguments]))
    assert found["predictions"][0]["label"] == label


def test_keys_are_issued_listed_and_revoked(tmp_path: Path) -> None:
    """The three commands of the page."""
    commands = re.findall(r"^python -m serving.keys (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 3
    identifier = "ID"
    for command in commands:
        words = command.replace("ID", identifier).split()
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        run = [ROOT / ".venv/bin/python", "-m", "serving.keys", *words]
        output = subprocess.check_output(run, cwd=tmp_path, env=environment, text=True, stderr=subprocess.DEVNULL)
        if words[1] == "issue":
            identifier = output.split("_")[1]
    assert output.startswith(f"revoked {identifier}")


def test_the_page_names_what_there_is() -> None:
    """Every setting that it names is one, and every address of the table is answered."""
    known = {variable(field.name) for field in msgspec.structs.fields(Settings)}
    assert set(re.findall(r"SLIPWAY_[A-Z_]+", PAGE)) <= known
    routes = protocols.Routes("classifier")
    for path in re.findall(r"`(/[a-z0-9/:.]*)`", PAGE):
        if path not in {"/versions/", "/labels/stable"}:
            assert any(_answered(routes, method, path) for method in ("GET", "POST")), path


def _answered(routes: protocols.Routes, method: str, path: str) -> bool:
    try:
        return bool(routes.find(method, path))
    except Exception:  # noqa: BLE001 (refused: no such address, or not with this method)
        return False


def test_tuning_measures_and_prefers_what_is_simple(tmp_path: Path) -> None:
    """A real server is measured; of choices that are alike the first wins; the plot is drawn."""
    need("wrk", "h2load", "taskset")
    found = tune.measure({"SLIPWAY_WORKERS": "1", "SLIPWAY_THREADS": "0"}, 1)
    assert found.rate > 100
    speeds = [{n: Speed(rate, 1.0) for n in tune.CONNECTIONS} for rate in (1000, 1040, 900)]
    alike = [Measured({"SLIPWAY_WORKERS": str(number)}, speed) for number, speed in enumerate(speeds)]
    assert tune.best(alike) is alike[0]
    faster = Measured({"SLIPWAY_WORKERS": "9"}, {n: Speed(1200, 1.0) for n in tune.CONNECTIONS})
    assert tune.best([*alike, faster]) is faster
    tune.draw([*alike, faster], faster, tmp_path / "tune.png")
    assert (tmp_path / "tune.png").stat().st_size > 10_000
