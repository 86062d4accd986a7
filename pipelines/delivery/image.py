"""Make the container image of a release from its verified bundle, for clusters and SageMaker.

make image TAG=v1.2.3              on this machine
make image TAG=v1.2.3 PUSH=yes     and in the registry, whose digest of it is printed last

It needs podman. `image` in delivery.yaml says what it is called and what it is built on; `hosts`, for which processors.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

from model.manifest import MODEL, Manifest
from model.release import BUNDLE
from pipelines.command import PipelineError, run
from pipelines.delivery import attachments, bundle, sbom, settings, store, tags
from pipelines.delivery.release import DIST
from pipelines.delivery.settings import Settings
from pipelines.review import repository

DOCKERFILE = Path("serving", "Dockerfile")
PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
PINNED = re.compile(r".+@sha256:[0-9a-f]{64}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="like v1.2.3")
    parser.add_argument("--push", action="store_true", help="also push it")
    given = parser.parse_args()
    chosen = settings.load()
    with tempfile.TemporaryDirectory() as folder:
        name = build(given.tag, chosen, Path(folder))
        print(f"{name} is built: podman run --publish 8080:8080 --env SLIPWAY_AUTH=false {name}")
        if given.push:
            publish(name, Path(folder, "release"), chosen)


def build(tag: str, chosen: Settings, folder: Path) -> str:
    """Return the name of the image made of a release, which is left unpacked in the folder. Raises PipelineError."""
    tags.parse(tag)
    name, base = f"{chosen.image.name}:{tag}", chosen.image.base
    if chosen.image.name is None or base is None:
        raise PipelineError("an image has no name or no base yet: set `image` in delivery.yaml, docs/kubernetes.md")
    if not PINNED.fullmatch(base):
        raise PipelineError(
            f"image.base in delivery.yaml: {base} may change: name it by its digest, as name:tag@sha256:…"
        )
    if not shutil.which("podman"):
        raise PipelineError("podman is missing, which builds images: https://podman.io/docs/installation")
    manifest = _unpack(tag, chosen, folder)
    committed = repository.git("show", "--no-patch", "--format=%cI", manifest.commit or "").strip()
    labels = {
        "org.opencontainers.image.title": chosen.card.name,
        "org.opencontainers.image.version": tag,
        "org.opencontainers.image.revision": manifest.commit or "",
        "org.opencontainers.image.created": committed,
        "org.opencontainers.image.base.name": base,
        "slipway.model.sha256": manifest.files[MODEL],
    }
    _podman("manifest", "rm", name, quiet=True)
    # Without a cache: what a layer was made from by a mount is not part of its name there.
    command = [
        "build",
        "--no-cache",
        "--layers=false",
        "--format=docker",
        f"--build-arg=BASE={base}",
        f"--file={DOCKERFILE}",
        f"--manifest={name}",
    ]
    command += [f"--platform={','.join(PLATFORMS[machine] for machine in chosen.hosts.machine)}"]
    # Of the commit, so that the same release makes the same layers.
    command += [f"--timestamp={datetime.fromisoformat(committed).timestamp():.0f}"]
    if _podman(*command, *(f"--label={key}={value}" for key, value in labels.items()), str(folder)):
        raise PipelineError(f"{name} is not built, see above")
    return name


def _unpack(tag: str, chosen: Settings, folder: Path) -> Manifest:
    """Lay out what the Dockerfile takes: release/ and server/, of a release that holds in every byte."""
    with tempfile.TemporaryDirectory() as fetched:
        place = DIST / tag
        if chosen.releases:
            store.fetch(store.releases(chosen), tag, place := Path(fetched))
        _, manifest = store.verify(place, tag, chosen)
        bundle.read(place / BUNDLE, tag, folder)
    (folder / tag / "server").rename(folder / "server")
    (folder / tag).rename(folder / "release")
    return manifest


def publish(name: str, release: Path, chosen: Settings) -> None:
    """Push an image, its list of parts and its signature, and say its digest. Raises PipelineError."""
    public = chosen.signing.public_key
    key = attachments.load_key(Path(public), os.environ) if public else None
    if attachments.exists(name):
        raise PipelineError(
            f"{name} is in the registry already, and no release changes: if it is not signed, delete it there first"
        )
    place, digest = name.rpartition(":")[0], _push(name)
    attachments.list_parts(place, digest, (release / sbom.NAME).read_bytes())
    if key:
        attachments.sign(place, digest, key)
    signed = "signed by the release key" if key else "not signed: `cosign sign` does it keyless"
    print(f"{place}@{digest} is pushed, {signed}")


def _push(name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "digest")
        if _podman("manifest", "push", "--all", f"--digestfile={file}", name, f"docker://{name}"):
            raise PipelineError(f"{name} is not pushed, see above: `podman login` lets you in")
        return file.read_text()


def _podman(*arguments: str, quiet: bool = False) -> int:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(["podman", *arguments], check=False, stdout=output, stderr=output).returncode  # noqa: S603, S607


if __name__ == "__main__":
    run(main)
