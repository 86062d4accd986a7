"""Bundles are unpacked and never write elsewhere."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from model import ModelError
from model.release import unpack


def write(path: Path, *members: tuple[str, bytes]) -> None:
    """Write an archive of members by name and kind."""
    with tarfile.open(path, "w") as tar:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = (1 if kind == tarfile.REGTYPE else 0), kind, "/etc/passwd"
            tar.addfile(member, io.BytesIO(b"x"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../out", tarfile.REGTYPE),
        ("/out-of-a-bundle", tarfile.REGTYPE),
        ("v1/../../out", tarfile.REGTYPE),
        ("link", tarfile.SYMTYPE),
        ("link", tarfile.LNKTYPE),
        ("pipe", tarfile.FIFOTYPE),
        ("disk", tarfile.BLKTYPE),
    ],
)
def test_what_a_bundle_must_not_hold(tmp_path: Path, name: str, kind: bytes) -> None:
    """Names that lead elsewhere, links and devices are refused, and nothing is written outside."""
    write(tmp_path / "bad.tar", (name, kind))
    with pytest.raises(ModelError, match="bad.tar is no bundle"):
        unpack(tmp_path / "bad.tar", tmp_path / "in", 100)
    assert not (tmp_path / "out").exists()
    assert not Path("/out-of-a-bundle").exists()


def test_depth_and_size_are_bounded(tmp_path: Path) -> None:
    """What lies too deep stays packed and does not count."""
    write(tmp_path / "a.tar", ("v1", tarfile.DIRTYPE), ("v1/a", tarfile.REGTYPE), ("v1/b/c", tarfile.REGTYPE))
    unpack(tmp_path / "a.tar", tmp_path / "in", 1, deepest=1)
    assert [path.name for path in (tmp_path / "in").rglob("*") if path.is_file()] == ["a"]
    with pytest.raises(ModelError, match="unpacks to more than 1 bytes"):
        unpack(tmp_path / "a.tar", tmp_path / "in", 1)


@pytest.mark.parametrize("content", [b"", b"x" * 600, b"\x1f\x8b" + b"x" * 600])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    """A damaged file is named."""
    (tmp_path / "bad.tar").write_bytes(content)
    with pytest.raises(ModelError, match="bad.tar is no bundle"):
        unpack(tmp_path / "bad.tar", tmp_path / "in", 100)
