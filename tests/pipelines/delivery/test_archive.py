"""Archives whose bytes depend on names and contents alone."""

from __future__ import annotations

import contextlib
import io
import tarfile
from pathlib import Path

import pytest

from pipelines.command import PipelineError
from pipelines.delivery.archive import pack, unpack


def test_equal_files_give_equal_archives(tmp_path: Path) -> None:
    """Neither times and modes nor the order of the files are in it, and it unpacks to what was packed."""
    files: dict[str, Path | bytes] = {"v1/b": tmp_path / "b", "v1/c/a": b"content"}
    (tmp_path / "b").write_text("b")
    pack(files, tmp_path / "one.tar")
    (tmp_path / "b").touch(0o755)
    pack(dict(reversed(files.items())), tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    unpack(tmp_path / "one.tar", tmp_path / "out")
    assert (tmp_path / "out/v1/b").read_text() == "b"
    assert (tmp_path / "out/v1/c/a").read_bytes() == b"content"


@pytest.mark.parametrize("name", ["../out", "/out-of-an-archive", "v1/../../out"])
def test_an_archive_that_would_write_elsewhere(tmp_path: Path, name: str) -> None:
    """Whatever its names, nothing is written outside of the folder."""
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    (tmp_path / "in").mkdir()
    with contextlib.suppress(PipelineError):
        unpack(tmp_path / "bad.tar", tmp_path / "in")
    assert not (tmp_path / "out").exists()
    assert not Path("/out-of-an-archive").exists()


def test_what_is_no_archive(tmp_path: Path) -> None:
    """A damaged file is named."""
    (tmp_path / "bad.tar").write_bytes(b"x" * 600)
    with pytest.raises(PipelineError, match="bad.tar is no archive"):
        unpack(tmp_path / "bad.tar", tmp_path / "in")
