"""make deploy-k8s, with a stand-in for the cluster and a real server: what fails there is undone."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project, git, need, wait_for
from tests.system import variants
from tests.system.conftest import copy_of, make_bucket
from tests.system.gateway import Gateway

Pushed = tuple[Project, dict[str, str], Path]


@pytest.fixture(scope="module")
def served(
    released: tuple[Project, str], s3: Gateway, signing_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, dict[str, str]]]:
    """A project with the releases v1.1.0 and v1.2.0, a server of the first, and what its commands need."""
    need("kubectl")
    folder = tmp_path_factory.mktemp("clusters")
    project = copy_of(released[0], folder / "project")
    make_bucket(s3, "clusters")
    project.edit("delivery.yaml", "s3://released/team", "s3://clusters/team")
    keys = {**s3.environment(), "SIGNING_KEY": str(signing_key)}
    for release in ("v1.1.0", "v1.2.0"):
        variants.publish(project, release, **keys)
    shutil.copy(Path(__file__).with_name("kubectl.py"), folder / "kubectl")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    path = project.environment()["PATH"]
    settings = {"MODEL": "dist/v1.1.0", "PORT": port, "GRPC": "false", "METRICS": "false"}
    server = project.start("python", "-m", "serving", **{f"SLIPWAY_{name}": value for name, value in settings.items()})
    try:
        wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", int(port))) == 0, "the server")
        real = shutil.which("kubectl", path=path) or ""
        yield project, {**keys, "KUBECTL": real, "PORT": port, "PATH": f"{folder}:{path}"}
    finally:
        server.terminate()
        server.communicate(timeout=60)


@pytest.fixture
def pushed(served: tuple[Project, dict[str, str]], tmp_path: Path) -> Pushed:
    """The project, whose staging is to run v1.1.0; variables; and the folder of an empty cluster."""
    project, variables = served
    want(project, "v1.1.0")
    return project, {**variables, "CLUSTER": str(tmp_path)}, tmp_path


def want(project: Project, release: str) -> None:
    """Let Git say that staging runs a release."""
    file = project.path / "environments" / "staging" / "serving.env"
    lines = [f"RELEASE={release}" if line.startswith("RELEASE=") else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n")
    git(project.path, "commit", "--quiet", "--all", "--allow-empty", "--message", f"Run {release}")


def deploy(pushed: Pushed, expect: int = 0) -> str:
    project, variables, _ = pushed
    return project.run("python", "-m", "pipelines.clusters", "deploy", "staging", expect=expect, **variables)


def test_it_serves(pushed: Pushed) -> None:
    """Applied are the Deployment and its settings alone; it is asked, and the second time there is nothing to do."""
    assert "staging: v1.1.0 serves" in deploy(pushed)
    applied = (pushed[2] / "current.yaml").read_text()
    assert {line for line in applied.splitlines() if line.startswith("kind:")} == {
        "kind: ConfigMap",
        "kind: Deployment",
    }
    assert "model-server:v1.1.0" in applied
    assert "the cluster has all of it already" in deploy(pushed)


def test_pods_that_are_never_ready(pushed: Pushed) -> None:
    """They are undone, and the command says what is left to do."""
    deploy(pushed)
    want(pushed[0], "v1.2.0")
    (pushed[2] / "broken").touch()
    output = deploy(pushed, expect=1)
    assert "v1.2.0 is refused: its pods did not become ready" in output
    assert "the cluster is back on what ran before; Git is not yet: `make rollback ENV=staging`" in output
    assert "model-server:v1.1.0" in (pushed[2] / "current.yaml").read_text()


def test_another_release_answers(pushed: Pushed) -> None:
    """Readiness is not enough: predictions with known answers are asked for, and the release must be the one."""
    deploy(pushed)
    want(pushed[0], "v1.2.0")
    output = deploy(pushed, expect=1)
    assert "v1.2.0 is refused: " in output
    assert "release v1.1.0 answered, expected v1.2.0" in output
    assert "model-server:v1.1.0" in (pushed[2] / "current.yaml").read_text()


def test_the_first_that_fails(pushed: Pushed) -> None:
    """There is nothing to go back to, and that is said."""
    (pushed[2] / "broken").touch()
    assert "there is nothing to go back to" in deploy(pushed, expect=1)


def test_what_does_not_hold_is_not_applied(pushed: Pushed) -> None:
    """The checks of make check-k8s come first, then the release's signature."""
    pushed[0].edit("k8s/base/deployment.yaml", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true")
    assert "allowPrivilegeEscalation must be false" in deploy(pushed, expect=1)
    git(pushed[0].path, "checkout", "--quiet", "k8s")
    want(pushed[0], "v3.0.0")
    assert "v3.0.0 is not published" in deploy(pushed, expect=1)
    assert not (pushed[2] / "current.yaml").exists()
