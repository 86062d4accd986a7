"""What the image of scheduled jobs is made of: the repository at a release's commit, and the packages that it pins."""

from __future__ import annotations

import tempfile
from pathlib import Path

from model.release import unpack
from pipelines.delivery import wheels
from pipelines.delivery.settings import Hosts
from pipelines.review import repository

DOCKERFILE = Path("pipelines", "Dockerfile")
UNUSED = ("hydra-core", "omegaconf")
"""Of DVC's packages, what `dvc exp run` alone needs; they bring one that is published as source only."""
SOURCES = ("model", "monitoring/objectives.yaml", "pipelines", "serving")
PROJECT = ("pyproject.toml", "uv.lock")
INSTALLER = "pip"
MOST = 100_000_000
"""Bytes of the repository's own files."""


def lay_out(commit: str, hosts: Hosts, folder: Path) -> None:
    """Put all that the Dockerfile takes into a new folder: source/, wheels/, requirements.txt, pip.whl.

    pyproject.toml and uv.lock of the commit are beside them. Raises PipelineError.
    """
    source = folder / "source"
    source.mkdir(parents=True)
    with tempfile.NamedTemporaryFile() as file:
        repository.git("archive", f"--output={file.name}", "--format=tar", commit, *SOURCES, *PROJECT)
        unpack(Path(file.name), source, MOST)
    for name in PROJECT:
        (source / name).rename(folder / name)
    (folder / "requirements.txt").write_text(wheels.requirements("jobs", folder, (*UNUSED, INSTALLER)))
    wheels.download(wheels.requirements("jobs", folder, UNUSED), hosts, folder / "wheels")
    (pip,) = (folder / "wheels").glob(f"{INSTALLER}-*.whl")
    pip.rename(folder / "pip.whl")
