"""Make the container images of a release, for clusters and SageMaker: its server, and what a cluster schedules.

make image TAG=v1.2.3              on this machine
make image TAG=v1.2.3 PUSH=yes     and in the registry, whose digest of the server is printed last

The server is made of the verified bundle, jobs (backup, drift) of the repository at its commit: <name>-operations.
It needs podman. `image` in delivery.yaml says what it is called and what it is built on; `hosts`, for which processors.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from model.manifest import MODEL, Manifest
from model.release import BUNDLE
from pipelines.command import PipelineError, run
from pipelines.delivery import attachments, bundle, jobs, podman, sbom, settings, store, tags
from pipelines.delivery.release import DIST
from pipelines.delivery.settings import Settings
from pipelines.review import repository

DOCKERFILE = Path("serving", "Dockerfile")
OPERATIONS = "-operations"
PINNED = re.compile(r".+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    name: str
    parts: bytes
    """Its list of parts, CycloneDX."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="like v1.2.3")
    parser.add_argument("--push", action="store_true", help="also push them")
    given = parser.parse_args()
    chosen = settings.load()
    made = build(given.tag, chosen)
    for image in made:
        print(f"{image.name} is built")
    print(f"try it: podman run --publish 8080:8080 --env SLIPWAY_AUTH=false {made[-1].name}")
    if given.push:
        publish(made, chosen)


def build(tag: str, chosen: Settings) -> list[Image]:
    """Return the images made of a release, its server last. Raises PipelineError."""
    tags.parse(tag)
    name, base = chosen.image.name, chosen.image.base
    if name is None or base is None:
        raise PipelineError("an image has no name or no base yet: set `image` in delivery.yaml, docs/kubernetes.md")
    if not PINNED.fullmatch(base):
        raise PipelineError(
            f"image.base in delivery.yaml: {base} may change: name it by its digest, as name:tag@sha256:…"
        )
    if not shutil.which("podman"):
        raise PipelineError("podman is missing, which builds images: https://podman.io/docs/installation")
    with tempfile.TemporaryDirectory() as temporary:
        server, scheduled = Path(temporary, "server"), Path(temporary, "jobs")
        server.mkdir()
        manifest = _unpack(tag, chosen, server)
        commit = manifest.commit or ""
        committed = datetime.fromisoformat(repository.git("show", "--no-patch", "--format=%cI", commit).strip())
        labels = {
            "org.opencontainers.image.title": chosen.card.name,
            "org.opencontainers.image.version": tag,
            "org.opencontainers.image.revision": commit,
            "org.opencontainers.image.created": committed.isoformat(),
            "org.opencontainers.image.base.name": base,
        }
        jobs.lay_out(commit, chosen.hosts, scheduled)
        parts = sbom.of_jobs(manifest, committed, scheduled, jobs.UNUSED)
        operations = Image(f"{name}{OPERATIONS}:{tag}", parts)
        build_image = partial(podman.build, base=base, machines=chosen.hosts.machine)
        build_image(operations.name, dockerfile=jobs.DOCKERFILE, context=scheduled, labels=labels)
        labels["slipway.model.sha256"] = manifest.files[MODEL]
        served = Image(f"{name}:{tag}", (server / "release" / sbom.NAME).read_bytes())
        build_image(served.name, dockerfile=DOCKERFILE, context=server, labels=labels)
    return [operations, served]


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


def publish(images: list[Image], chosen: Settings) -> None:
    """Push images, their lists of parts and their signatures, and say their digests. Raises PipelineError."""
    public = chosen.signing.public_key
    key = attachments.load_key(Path(public), os.environ) if public else None
    for image in images:
        if attachments.exists(image.name):
            raise PipelineError(
                f"{image.name} is in the registry already, and no release changes: if it is not signed, delete it "
                "there first"
            )
    signed = "signed by the release key" if key else "not signed: `cosign sign` does it keyless"
    for image in images:
        place, digest = image.name.rpartition(":")[0], podman.push(image.name)
        attachments.list_parts(place, digest, image.parts)
        if key:
            attachments.sign(place, digest, key)
        print(f"{place}@{digest} is pushed, {signed}")


if __name__ == "__main__":
    run(main)
