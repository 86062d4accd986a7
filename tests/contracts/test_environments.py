"""environments/: plain lines that the server, systemd and kustomize read alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.delivery import environments
from serving import config
from tests.conftest import ROOT

FILES = sorted((ROOT / "environments").glob("*/serving.env"))


def test_there_are_both() -> None:
    """A release goes through staging to production."""
    assert {file.parent.name for file in FILES} >= {environments.STAGING, environments.PRODUCTION}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_server_knows_every_setting(file: Path) -> None:
    """Without quotes, which kustomize would keep, and without spaces around the sign."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Z_]+=[^\s'\"]*", line) for line in lines)
    settings = config.load(dict(line.split("=", 1) for line in lines))
    assert settings.release == environments.release_of(file.read_text(), str(file))
