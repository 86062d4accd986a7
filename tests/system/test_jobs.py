"""What a cluster schedules, run by podman as the CronJobs say: the image of jobs, read-only and without rights."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from pipelines.clusters import manifests
from pipelines.clusters.manifests import Object
from tests.conftest import ROOT, Project, git
from tests.system.conftest import Image, copy_of, make_bucket
from tests.system.containers import Podman
from tests.system.gateway import Gateway

Run = Callable[..., str]
PASSWORD = "of-the-backup"
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--rm")


class Forge(SimpleHTTPRequestHandler):
    """Repositories by HTTPS, for who gives the password."""

    def do_GET(self) -> None:
        wanted = base64.b64encode(f"backup:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] == f"Basic {wanted}":
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="forge"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (its name there)
        """Say nothing."""


def pod(name: str) -> Object:
    """Return the pod of a CronJob, as its component says."""
    (found,) = manifests.read(name, manifests.component(name)).kind("CronJob")
    return dict(found["spec"]["jobTemplate"]["spec"]["template"]["spec"])


def options(container: Object, volumes: dict[str, Path], given: dict[str, str]) -> list[str]:
    """Return podman's options for what a container says of itself; values that are given stand in for its own."""
    found = [f"--memory={container['resources']['limits']['memory'].removesuffix('i')}", *HARDENED]
    for mount in container["volumeMounts"]:
        read_only = ":ro" if mount.get("readOnly") else ""
        found.append(f"--volume={volumes[mount['name']]}:{mount['mountPath']}{read_only}")
    variables = {each["name"]: each.get("value", "") for each in container.get("env", [])} | given
    found += [f"--env={name}={value}" for name, value in variables.items()]
    if "workingDir" in container:
        found.append(f"--workdir={container['workingDir']}")
    if "command" in container:
        found.append(f"--entrypoint={json.dumps(container['command'][:1])}")
    return found


def words(container: Object, given: dict[str, str]) -> list[str]:
    """Return what a container is told, with variables as the kubelet puts them in."""
    said = [*container.get("command", [])[1:], *container.get("args", [])]
    for name, value in given.items():
        said = [word.replace(f"$({name})", value) for word in said]
    return said


@pytest.fixture
def run(image: Image, podman: Podman, s3: Gateway) -> Run:
    """Return a function that runs a container of a pod, with folders as its volumes, and returns its output."""

    def run(container: Object, volumes: dict[str, Path], given: dict[str, str], check: bool = True) -> str:
        chosen = options(container, volumes, {**given, **s3.environment()})
        arguments = ["--network=host", "--http-proxy=false", *chosen, image.operations, *words(container, given)]
        return podman.run("run", *arguments, check=check)

    return run


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own manifests are in the working folder."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def project(image: Image, s3: Gateway, tmp_path: Path) -> Project:
    """The released project, with a bucket for backups."""
    project = copy_of(image.project, tmp_path / "project")
    project.edit("delivery.yaml", "s3://released-backup", "s3://jobs-backup")
    git(project.path, "commit", "--quiet", "--all", "--message", "A bucket of its own")
    make_bucket(s3, "jobs-backup")
    return project


@contextmanager
def forge(folder: Path, authority: trustme.CA) -> Iterator[str]:
    """Serve the repositories of a folder, and give the address of `digits.git`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Forge, directory=str(folder))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}/digits.git"
        server.shutdown()


def test_backup(image: Image, project: Project, s3: Gateway, tmp_path: Path, run: Run) -> None:
    """It clones with its login, saves all, and what comes back is what was there.

    A forge whose certificate is of a CA that the base does not have is refused, as is a wrong login.
    """
    bare = tmp_path / "forge" / "digits.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(project.path), str(bare))
    git(bare, "update-server-info")
    scheduled = pod("backup")
    (clone,), (backup,) = scheduled["initContainers"], scheduled["containers"]
    volumes = {volume["name"]: tmp_path / volume["name"] for volume in scheduled["volumes"]}
    for folder in volumes.values():
        folder.mkdir()
        shutil.chown(folder, scheduled["securityContext"]["runAsUser"])
    login = volumes["login"] / ".netrc"
    login.write_text(f"machine 127.0.0.1 login backup password {PASSWORD}\n")
    with forge(bare.parent, trustme.CA()) as address:
        assert "certificate verification failed" in run(clone, volumes, {"REPOSITORY": address}, check=False)
    with forge(bare.parent, image.authority) as address:
        given = {"REPOSITORY": address}
        login.write_text("machine 127.0.0.1 login backup password another\n")
        assert "could not read Username" in run(clone, volumes, given, check=False)
        login.write_text(f"machine 127.0.0.1 login backup password {PASSWORD}\n")
        run(clone, volumes, given)
        began = time.monotonic()
        output = run(backup, volumes, given)
    print(f"backup in {time.monotonic() - began:.1f} s: {output}")
    assert " are new; " in output
    restored = tmp_path / "restored"
    project.run("make", "restore", f"INTO={restored}", **s3.environment())
    assert git(restored, "rev-parse", "HEAD", "v1.0.0") == git(project.path, "rev-parse", "HEAD", "v1.0.0")
    for name in ("data", "dist/v1.0.0"):
        files = [path for path in (project.path / name).rglob("*") if path.is_file()]
        assert files
        assert all((restored / path.relative_to(project.path)).read_bytes() == path.read_bytes() for path in files)


def test_drift(tmp_path: Path, run: Run) -> None:
    """It has what it needs to ask Prometheus, and says when there is none."""
    scheduled = pod("drift")
    (container,) = scheduled["containers"]
    assert "does not answer as Prometheus does" in run(
        container, {"temporary": tmp_path}, {"NAMESPACE": "production"}, check=False
    )


def test_it_is_small_and_says_what_it_is(image: Image, podman: Podman) -> None:
    """Labels name version and commit; it is nobody's root, and has no installer's leftovers."""
    (made,) = json.loads(podman.run("image", "inspect", image.operations))
    (base,) = json.loads(podman.run("image", "inspect", image.base))
    print(f"operations: {(made['Size'] - base['Size']) / 1e6:.0f} MB over its base of {base['Size'] / 1e6:.0f} MB")
    assert made["Size"] - base["Size"] < 500_000_000
    assert made["Labels"]["org.opencontainers.image.version"] == "v1.0.0"
    commit = git(image.project.path, "rev-parse", "v1.0.0^{commit}").strip()
    assert made["Labels"]["org.opencontainers.image.revision"] == commit
    assert made["Config"]["User"] == "10001:10001"
