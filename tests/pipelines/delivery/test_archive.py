"""Archives whose bytes depend on names and contents alone."""

from __future__ import annotations

from pathlib import Path

from model.release import unpack
from pipelines.delivery.archive import pack


def test_equal_files_give_equal_archives(tmp_path: Path) -> None:
    """Neither times and modes nor the order of the files are in it, and it unpacks to what was packed."""
    files: dict[str, Path | bytes] = {"v1/b": tmp_path / "b", "v1/c/a": b"content"}
    (tmp_path / "b").write_text("b")
    pack(files, tmp_path / "one.tar")
    (tmp_path / "b").touch(0o755)
    pack(dict(reversed(files.items())), tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    unpack(tmp_path / "one.tar", tmp_path / "out", 100)
    assert (tmp_path / "out/v1/b").read_text() == "b"
    assert (tmp_path / "out/v1/c/a").read_bytes() == b"content"
