"""make deploy-k8s, with a stand-in for the cluster and a real server: what fails there is undone."""

from __future__ import annotations

import json
import re
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
        yield project, {**keys, "KUBECTL": real, "SERVING_KEY": "any", "PORT": port, "PATH": f"{folder}:{path}"}
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


def runs(pushed: Pushed) -> str:
    """Return the image that the cluster runs."""
    last = max(pushed[2].glob("*.json"), key=lambda file: int(file.stem))
    (deployment,) = [each for each in json.loads(last.read_text())["items"] if each["kind"] == "Deployment"]
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def test_it_serves(pushed: Pushed) -> None:
    """Applied are the Deployment and its settings alone; it is asked; the second time there is nothing to change."""
    assert "staging: v1.1.0 serves\n" in deploy(pushed)
    applied = json.loads((pushed[2] / "1.json").read_text())["items"]
    assert {each["kind"] for each in applied} == {"ConfigMap", "Deployment"}
    assert runs(pushed).endswith("model-server:v1.1.0")
    assert "staging: v1.1.0 serves, as it did before" in deploy(pushed)
    assert not (pushed[2] / "2.json").exists()


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("broken", "v1.2.0 is refused: its pods did not become ready"),
        ("cut", "v1.2.0 is refused: no prediction could be asked for"),
        ("", "v1.2.0 is refused: .*release v1.1.0 answered, expected v1.2.0"),
    ],
    ids=["never ready", "cannot be asked", "another release answers"],
)
def test_what_fails_is_undone(pushed: Pushed, failure: str, said: str) -> None:
    """Readiness is not enough: predictions with known answers are asked for, and the release must be the one."""
    deploy(pushed)
    want(pushed[0], "v1.2.0")
    if failure:
        (pushed[2] / failure).touch()
    output = deploy(pushed, expect=1)
    assert re.search(said, output), output
    assert "the cluster is back on what ran before; Git is not yet: `make rollback ENV=staging`" in output
    assert runs(pushed).endswith("model-server:v1.1.0")


def test_what_cannot_be_asked_again(pushed: Pushed) -> None:
    """Where nothing differs nothing is undone, but a cluster that does not answer is no success."""
    deploy(pushed)
    (pushed[2] / "cut").touch()
    assert "no prediction could be asked for" in deploy(pushed, expect=1)
    assert not (pushed[2] / "2.json").exists()


def test_the_first_that_fails(pushed: Pushed) -> None:
    """There is nothing to go back to, and that is said."""
    (pushed[2] / "broken").touch()
    assert "nothing has run there before to go back to" in deploy(pushed, expect=1)


def test_what_does_not_hold_is_not_applied(pushed: Pushed) -> None:
    """The checks of make check-k8s come first, then a key to ask with, then the release's signature."""
    project, variables, cluster = pushed
    project.edit("k8s/base/deployment.yaml", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true")
    assert "allowPrivilegeEscalation must be false" in deploy(pushed, expect=1)
    git(project.path, "checkout", "--quiet", "k8s")
    assert "SERVING_KEY is not set" in deploy((project, {**variables, "SERVING_KEY": ""}, cluster), expect=1)
    want(project, "v3.0.0")
    assert "v3.0.0 is not published" in deploy(pushed, expect=1)
    assert not list(cluster.glob("*.json"))


def test_what_an_operator_rolls_out(pushed: Pushed) -> None:
    """Flagger and KServe do it themselves: the command says so instead of doing half of it."""
    project, _, _ = pushed
    overlay = "k8s/overlays/staging/kustomization.yaml"
    project.edit(overlay, "../../components/ingress", "../../components/canary")
    assert "is rolled out by an operator of the cluster" in deploy(pushed, expect=1)
    git(project.path, "checkout", "--quiet", "k8s")
