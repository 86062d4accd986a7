"""The container image of a release, built and run: small, without rights, and gone without losing a request."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import encode, git, need, picture, wait_for
from tests.system.conftest import Image, copy_of
from tests.system.containers import HARDENED, Podman
from tests.system.load import load

Run = Callable[..., tuple[str, str]]


@pytest.fixture
def start(image: Image, podman: Podman) -> Iterator[Run]:
    """Return a function that runs the image and returns the container's number and its address."""
    running = []

    def run(*options: str, command: tuple[str, ...] = ()) -> tuple[str, str]:
        variables = ("--env=SLIPWAY_AUTH=false", "--publish=127.0.0.1::8080")
        number = podman.run("run", "--detach", *variables, *options, image.name, *command).split()[-1]
        running.append(number)
        address = podman.run("port", number, "8080").strip()
        return number, f"http://{address}"

    yield run
    for number in running:
        podman.run("rm", "--force", "--time=0", number, check=False)


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_it_is_small_and_says_what_it_is(image: Image, podman: Podman) -> None:
    """Under 200 MB over its base; labels name version, commit and model; it is nobody's root."""
    (made,) = json.loads(podman.run("image", "inspect", image.name))
    (base,) = json.loads(podman.run("image", "inspect", image.base))
    print(f"image: {(made['Size'] - base['Size']) / 1e6:.0f} MB over its base of {base['Size'] / 1e6:.0f} MB")
    assert made["Size"] - base["Size"] < 200_000_000
    labels = made["Labels"]
    assert labels["org.opencontainers.image.version"] == "v1.0.0"
    assert (
        labels["org.opencontainers.image.revision"] == git(image.project.path, "rev-parse", "v1.0.0^{commit}").strip()
    )
    assert re.fullmatch("[0-9a-f]{64}", labels["slipway.model.sha256"])
    assert made["Config"]["User"] == "10001:10001"
    assert made["Healthcheck"]


def test_hardened(image: Image, start: Run, tmp_path: Path) -> None:
    """It starts and answers as it did when it was evaluated: read-only, without rights, in 128 MB."""
    began = time.monotonic()
    _, url = start(*HARDENED)
    wait_for(lambda: ready(url), "readiness", 60)
    print(f"cold start: {time.monotonic() - began:.1f} s")
    examples = tmp_path / "examples.json"
    archive = image.project.path / "dist" / "v1.0.0" / "bundle.tar"
    examples.write_bytes(subprocess.check_output(["tar", "--to-stdout", "-xf", archive, "v1.0.0/examples.json"]))
    command = ("python", "-m", "serving.client", "--url", url, "--examples", str(examples), "--release", "v1.0.0")
    assert "release v1.0.0" in image.project.run(*command)


def test_as_sagemaker_starts_it(image: Image, start: Run) -> None:  # noqa: ARG001
    """With the argument `serve`, on port 8080, answering /ping."""
    _, url = start(*HARDENED, command=("serve",))

    def pinged() -> bool:
        try:
            return bool(urllib.request.urlopen(f"{url}/ping", timeout=2).status == 200)
        except OSError:
            return False

    wait_for(pinged, "/ping", 60)


def test_it_knows_whether_it_is_well(image: Image, start: Run, podman: Podman) -> None:  # noqa: ARG001
    """Its own health check says so."""
    number, url = start(*HARDENED, "--env=SLIPWAY_DRAIN=20")
    wait_for(lambda: ready(url), "readiness", 60)
    podman.run("healthcheck", "run", number)
    podman.run("kill", "--signal=TERM", number)
    wait_for(lambda: not ready(url), "not ready")
    with pytest.raises(AssertionError, match="healthcheck"):
        podman.run("healthcheck", "run", number)


def test_its_end_loses_no_request(image: Image, start: Run, podman: Podman, tmp_path: Path) -> None:  # noqa: ARG001
    """SIGTERM under load: all that was sent is answered, as long as it listens, and it ends by itself with 0."""
    need("wrk")
    number, url = start(*HARDENED, "--env=SLIPWAY_DRAIN=3", "--env=SLIPWAY_ACCESS_LOG=false")
    wait_for(lambda: ready(url), "readiness", 60)
    (tmp_path / "picture.png").write_bytes(encode(picture(size=(8, 8), mode="L")))
    with load(f"{url}/v1/predict", tmp_path / "picture.png", tmp_path) as found:
        time.sleep(2)
        podman.run("kill", "--signal=TERM", number)
        wait_for(lambda: not ready(url), "not ready")
        time.sleep(1)  # of the three that are left
    print(f"SIGTERM under load: {found.answers}")
    assert found.failed == 0
    assert podman.run("wait", number).strip() == "0"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  base: localhost", "  base: docker.io/library/python:3.11-slim # ", "may change: name it by its digest"),
        ("  name: localhost", "  name: null # ", "has no name or no base yet: set `image` in delivery.yaml"),
    ],
)
def test_what_is_not_set(image: Image, tmp_path: Path, old: str, new: str, said: str) -> None:
    """The error says what is missing."""
    project = copy_of(image.project, tmp_path / "project")
    project.edit("delivery.yaml", old, new)
    assert said in project.run("make", "image", "TAG=v1.0.0", expect=2)
