"""delivery.yaml is checked whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.command import PipelineError
from pipelines.delivery import settings
from tests.conftest import ROOT

TEXT = (ROOT / "delivery.yaml").read_text()


def test_the_file_here_can_be_read() -> None:
    """Whatever a team has made of it."""
    settings.load(ROOT / "delivery.yaml")


@pytest.mark.parametrize(
    ("key", "line", "said"),
    [
        ("releases:", "releases: bucket", "at `releases`"),
        ("releases:", "releases: s3://x", "at `releases`"),
        ("  public_key:", "  public_kye: a.pem", "unknown field `public_kye`"),
        ("  identity:", "  identity: somebody@example.com", "identity and issuer go together"),
        ("  python:", "  python: [3.11]", "at `hosts.python[0]`"),
        ("  machine:", "  machine: [riscv64]", "names the choices"),
        ("  keep:", "  keep: {daily: 0, weekly: 5, monthly: 12, yearly: 3}", "at `backup.keep.daily`"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, key: str, line: str, said: str) -> None:
    """A key that is none, an address that is none, a choice that is none."""
    lines = [line if each.startswith(key) else each for each in TEXT.splitlines()]
    (tmp_path / "delivery.yaml").write_text("\n".join(lines))
    with pytest.raises(PipelineError) as error:
        settings.load(tmp_path / "delivery.yaml")
    assert said in str(error.value)
