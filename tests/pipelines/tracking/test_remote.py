"""Whether there is a remote to share results through."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.dvc import dvc
from pipelines.tracking import remote


def test_only_a_default_remote_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, and with one that is not the default, DVC could neither push nor pull."""
    monkeypatch.chdir(tmp_path)
    dvc("init", "--no-scm", "--quiet")
    assert not remote.is_configured()
    dvc("remote", "add", "--quiet", "spare", str(tmp_path / "spare"))
    assert not remote.is_configured()
    dvc("remote", "default", "--quiet", "spare")
    assert remote.is_configured()
