"""pipelines.training.sources: the same pictures come out of a folder, an archive and a bucket."""

from __future__ import annotations

import io
import shutil
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from model.inputs import InputError
from pipelines.command import PipelineError
from pipelines.training.sources import base, open_source
from pipelines.training.sources.base import Source
from tests.conftest import encode, picture


def contents(source: Source) -> dict[str, bytes]:
    return {path: read() for path, read in source.files()}


def test_digits() -> None:
    """The bundled digits are 1,797 in ten classes, the same bytes each time."""
    files = contents(open_source("digits"))
    assert len(files) == 1797
    assert {path.split("/")[0] for path in files} == set("0123456789")
    assert files == contents(open_source("digits"))


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_archives_hold_what_the_folder_holds(image_folder: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    """Packing a folder changes nothing about its files."""
    folder = image_folder({"a": 3, "b": 2})
    archive = shutil.make_archive(str(tmp_path / "packed"), kind, folder)
    assert contents(open_source(archive)) == contents(open_source(str(folder)))
    assert {"a/", "b/"} <= set(open_source(archive).paths())


def test_the_order_of_a_folder_is_its_names(image_folder: Callable[..., Path]) -> None:
    """A file system's own order never shows."""
    folder = image_folder({"b": 2, "a": 2})
    (folder / "a" / "zz.png").write_bytes(b"1")
    (folder / "a" / "000.png").rename(folder / "a" / "zzz.png")
    files = [path for path, _ in open_source(str(folder)).files()]
    assert files == ["a/001.png", "a/zz.png", "a/zzz.png", "b/000.png", "b/001.png"]


def test_a_tar_is_streamed(tmp_path: Path) -> None:
    """Reading a tar of 300 files of 100 kB needs the memory of a few of them."""
    path = tmp_path / "big.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(300):
            member = tarfile.TarInfo(f"a/{number}.png")
            member.size = 100_000
            archive.addfile(member, io.BytesIO(bytes(100_000)))
    tracemalloc.start()
    assert sum(len(read()) for _, read in open_source(str(path)).files()) == 300 * 100_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    """A missing path and a file of another kind are answered with the kinds there are."""
    with pytest.raises(PipelineError, match="no source 'nowhere'.*`digits`, a folder, a .zip"):
        open_source("nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(PipelineError, match=r"cannot read .*notes\.txt"):
        open_source(str(tmp_path / "notes.txt"))


def test_damaged_archives_are_refused(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """A cut or changed archive is named, not silently shortened."""
    folder = image_folder({"a": 30, "b": 30})
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", folder))
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(PipelineError, match="packed.*damaged"):
        contents(open_source(str(packed)))
    zipped = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", folder))
    content = bytearray(zipped.read_bytes())
    content[200] ^= 255
    zipped.write_bytes(content)
    with pytest.raises(PipelineError, match=r"zipped\.zip: damaged archive: Bad CRC"):
        contents(open_source(str(zipped)))


def test_a_file_beyond_reason_is_refused(image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is refused by its size before it is read."""
    monkeypatch.setattr(base, "MAX_FILE_BYTES", len(encode(picture(0))) - 100)
    _, read = next(open_source(str(image_folder({"a": 1, "b": 1}))).files())
    with pytest.raises(InputError, match="bytes: an image file may have"):
        read()


def test_links_in_a_tar_are_refused_by_name(tmp_path: Path) -> None:
    """GNU tar stores a file's second name as a link, which a stream cannot follow: it is said, not lost."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"1")
    (tmp_path / "a" / "2.png").hardlink_to(tmp_path / "a" / "1.png")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "a", "a")
    with pytest.raises(InputError, match="a link inside the archive: pack the file itself"):
        contents(open_source(str(tmp_path / "x.tar")))


@pytest.mark.parametrize("name", ["photos.v2.zip", "photos.v2.tar", "photos.v2.tar.gz", "photos.v2.tgz"])
def test_an_archive_is_named_as_its_folder(image_folder: Callable[..., Path], tmp_path: Path, name: str) -> None:
    """The endings go, dots in the name stay."""
    folder = image_folder({"a": 1, "b": 1})
    kind = {"zip": "zip", "tar": "tar"}.get(name.rsplit(".", 1)[-1], "gztar")
    made = Path(shutil.make_archive(str(tmp_path / "made"), kind, folder))
    made.rename(tmp_path / name)
    assert open_source(str(tmp_path / name)).name == "photos.v2"
