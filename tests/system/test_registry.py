"""An image in a real registry: signed as cosign does it, its list of parts beside it."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need, wait_for
from tests.system.conftest import Image, copy_of, remove
from tests.system.containers import Podman
from tests.system.gateway import Gateway

SERVICE = "{{version: 0.1, storage: {{filesystem: {{rootdirectory: {folder}}}}}, http: {{addr: '127.0.0.1:{port}'}}}}"


@dataclass
class Registry:
    """A registry on this machine, and what clients need that take it for one without TLS."""

    address: str
    home: Path
    which: str = ""
    """What the name of one of the images ends in."""

    @property
    def name(self) -> str:
        return f"{self.address}/digits/model-server{self.which}"

    def raw(self, which: str) -> dict[str, Any]:
        """Return a manifest as the registry has it."""
        return json.loads(self._skopeo("inspect", "--raw", f"docker://{self.name}{which}"))

    def layer(self, tag: str, folder: Path) -> bytes:
        """Return the one layer of what a tag names."""
        self._skopeo("copy", f"docker://{self.name}:{tag}", f"dir:{folder}")
        (layer,) = self.raw(f":{tag}")["layers"]
        return (folder / layer["digest"].removeprefix("sha256:")).read_bytes()

    def _skopeo(self, *arguments: str) -> bytes:
        variables = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        return subprocess.check_output(["skopeo", "--insecure-policy", *arguments], env=variables)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    need("docker-registry", "skopeo")
    folder = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = Registry(f"127.0.0.1:{port}", folder / "home")
    (found.home / ".config/containers").mkdir(parents=True)
    insecure = f'[[registry]]\nlocation = "{found.address}"\ninsecure = true\n'
    (found.home / ".config/containers/registries.conf").write_text(insecure)
    config = folder / "registry.yaml"
    config.write_text(SERVICE.format(folder=folder / "registry", port=port))
    with subprocess.Popen(["docker-registry", "serve", config], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "the registry")
            yield found
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def keys(s3: Gateway, signing_key: Path) -> dict[str, str]:
    return {**s3.environment(), "SIGNING_KEY": str(signing_key)}


@pytest.fixture(scope="module")
def pushed(image: Image, registry: Registry, podman: Podman, keys: dict[str, str]) -> Iterator[str]:
    """What `make image PUSH=yes` printed."""
    project = copy_of(image.project, registry.home.with_name("project"))
    project.edit("delivery.yaml", f"  name: {image.name.rpartition(':')[0]}", f"  name: {registry.name}")
    environment = {**podman.environment, **keys, "HOME": str(registry.home)}
    yield project.run("make", "image", "TAG=v1.0.0", "PUSH=yes", **environment)
    remove(podman, f"{registry.name}:v1.0.0")
    remove(podman, f"{registry.name}-operations:v1.0.0")


@pytest.mark.parametrize("which", ["", "-operations"])
def test_built_again_it_has_the_same_layers(
    pushed: str, image: Image, registry: Registry, podman: Podman, which: str
) -> None:
    """The images for the registry have the bytes of the first ones, and podman took no layer from its cache."""
    assert pushed.count("STEP ") > 2
    assert "Using cache" not in pushed
    names = (f"{registry.name}{which}:v1.0.0", image.operations if which else image.name)
    again, first = [json.loads(podman.run("image", "inspect", name))[0]["RootFS"]["Layers"] for name in names]
    assert again == first


@pytest.mark.parametrize("which", ["", "-operations"])
def test_signed(pushed: str, registry: Registry, signing_key: Path, tmp_path: Path, which: str) -> None:
    """Beside an image, and each processor's of it, lies what OpenSSL too takes for a signature of that digest."""
    registry = replace(registry, which=which)
    digest = pushed.rpartition(f"{registry.name}@")[2].split()[0]
    assert pushed.count("is pushed, signed by the release key") == 2
    (one,) = registry.raw(f"@{digest}")["manifests"]
    for signed in (digest, one["digest"]):
        tag = f"{signed.replace(':', '-')}.sig"
        payload = registry.layer(tag, tmp_path / tag)
        said = json.loads(payload)["critical"]
        assert said["image"] == {"docker-manifest-digest": signed}
        assert said["identity"] == {"docker-reference": registry.name}
        (layer,) = registry.raw(f":{tag}")["layers"]
        (tmp_path / "payload").write_bytes(payload)
        signature = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
        (tmp_path / "signature").write_bytes(signature)
        public = signing_key.with_name("release.pem")
        command = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", tmp_path / "signature"]
        assert subprocess.check_output([*command, tmp_path / "payload"]) == b"Verified OK\n"


@pytest.mark.parametrize(("which", "part"), [("", "uvloop"), ("-operations", "dvc")])
def test_its_list_of_parts(pushed: str, registry: Registry, tmp_path: Path, which: str, part: str) -> None:
    """It is the image's own, where cosign looks for it."""
    registry = replace(registry, which=which)
    digest = pushed.rpartition(f"{registry.name}@")[2].split()[0]
    tag = f"{digest.replace(':', '-')}.sbom"
    assert registry.raw(f":{tag}")["layers"][0]["mediaType"] == "application/vnd.cyclonedx+json"
    assert part in {each["name"] for each in json.loads(registry.layer(tag, tmp_path / "parts"))["components"]}
