"""Container images by podman: built so that the same makes the same, and pushed."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pipelines.command import PipelineError

PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


def build(  # noqa: PLR0913 (an image is that much)
    name: str, *, dockerfile: Path, context: Path, base: str, machines: Sequence[str], labels: Mapping[str, str]
) -> None:
    """Build an image for some processors, with no layer of an earlier one. Raises PipelineError."""
    _podman("manifest", "rm", name, quiet=True)
    # Without a cache: what a layer was made from by a mount is not part of its name there.
    command = [
        "build",
        "--no-cache",
        "--layers=false",
        "--format=docker",
        f"--build-arg=BASE={base}",
        f"--file={dockerfile}",
        f"--manifest={name}",
        f"--platform={','.join(PLATFORMS[machine] for machine in machines)}",
    ]
    # Of the commit, so that the same release makes the same layers.
    created = datetime.fromisoformat(labels["org.opencontainers.image.created"])
    command += [f"--timestamp={created.timestamp():.0f}"]
    if _podman(*command, *(f"--label={key}={value}" for key, value in labels.items()), str(context)):
        raise PipelineError(f"{name} is not built, see above")


def push(name: str) -> str:
    """Push an image for all its processors and return its digest. Raises PipelineError."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "digest")
        if _podman("manifest", "push", "--all", f"--digestfile={file}", name, f"docker://{name}"):
            raise PipelineError(f"{name} is not pushed, see above: `podman login` lets you in")
        return file.read_text()


def _podman(*arguments: str, quiet: bool = False) -> int:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(["podman", *arguments], check=False, stdout=output, stderr=output).returncode  # noqa: S603, S607
