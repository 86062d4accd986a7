"""An image in a real registry: its signature is one that containers' own tools hold it to, its list of parts is beside it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Project, need, wait_for
from tests.system.conftest import Image, copy_of
from tests.system.containers import Podman
from tests.system.gateway import Gateway

SERVICE = "{{version: 0.1, storage: {{filesystem: {{rootdirectory: {folder}}}}}, http: {{addr: '127.0.0.1:{port}'}}}}"


@dataclass
class Registry:
    """A registry on this machine, and what clients need that take it for one without TLS."""

    address: str
    home: Path

    @property
    def name(self) -> str:
        return f"{self.address}/digits/model-server"

    def skopeo(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = ["skopeo", "--registries.d", self.home / "registries.d", *arguments]
        variables = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)

    def held_to(self, key: Path, digest: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Download the image as a machine does whose policy asks for signatures of a key."""
        signed = {"type": "sigstoreSigned", "keyPath": str(key), "signedIdentity": {"type": "matchRepository"}}
        policy = folder / "policy.json"
        rules = {"docker": {self.address: [signed]}}
        policy.write_text(json.dumps({"default": [{"type": "reject"}], "transports": rules}))
        return self.skopeo("copy", "--policy", policy, f"docker://{self.name}@{digest}", f"dir:{folder / 'image'}")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    need("docker-registry", "skopeo")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = Registry(f"127.0.0.1:{port}", tmp_path / "home")
    for folder in ("registries.d", ".config/containers"):
        (found.home / folder).mkdir(parents=True)
    insecure = f'[[registry]]\nlocation = "{found.address}"\ninsecure = true\n'
    (found.home / ".config/containers/registries.conf").write_text(insecure)
    (found.home / "registries.d" / "here.yaml").write_text("default-docker: {use-sigstore-attachments: true}\n")
    config = tmp_path / "registry.yaml"
    config.write_text(SERVICE.format(folder=tmp_path / "registry", port=port))
    with subprocess.Popen(["docker-registry", "serve", config], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "the registry")
            yield found
        finally:
            process.terminate()


def push(image: Image, registry: Registry, folder: Path, podman: Podman, **variables: str) -> tuple[Project, str]:
    project = copy_of(image.project, folder / "project")
    project.edit("delivery.yaml", f"  name: {image.name.rpartition(':')[0]}", f"  name: {registry.name}")
    environment = {**podman.environment, **variables, "HOME": str(registry.home)}
    return project, project.run("make", "image", "TAG=v1.0.0", "PUSH=yes", **environment)


def test_signed(
    image: Image, registry: Registry, podman: Podman, s3: Gateway, signing_key: Path, tmp_path: Path
) -> None:
    """Who asks for the release key's signature gets it, for the whole and for this processor; for another's, does not."""
    try:
        _, output = push(image, registry, tmp_path, podman, SIGNING_KEY=str(signing_key), **s3.environment())
    finally:
        podman.run("manifest", "rm", f"{registry.name}:v1.0.0", check=False)
    digest = output.rpartition(f"{registry.name}@")[2].split()[0]
    assert output.strip().endswith("is pushed, signed by the release key")
    listed = json.loads(registry.skopeo("inspect", "--raw", f"docker://{registry.name}@{digest}").stdout)
    (one,) = listed["manifests"]
    held = registry.held_to(signing_key.with_name("release.pem"), one["digest"], tmp_path)
    assert held.returncode == 0, held.stderr
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "k"], check=True
    )
    subprocess.run(["openssl", "ec", "-in", tmp_path / "k", "-pubout", "-out", other], check=True, capture_output=True)
    shutil.rmtree(tmp_path / "image")
    held = registry.held_to(other, one["digest"], tmp_path)
    assert held.returncode != 0
    assert "signature" in held.stderr
    parts = registry.skopeo("inspect", "--raw", f"docker://{registry.name}:{digest.replace(':', '-')}.sbom")
    assert json.loads(parts.stdout)["layers"][0]["mediaType"] == "application/vnd.cyclonedx+json"
