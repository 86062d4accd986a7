"""pipelines.training.ingest: a source becomes new shards, and nothing that was there changes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.command import PipelineError
from pipelines.training import shards
from pipelines.training.encoding import strip
from pipelines.training.ingest import ingest
from pipelines.training.sources import open_source
from pipelines.training.sources.digits import Digits
from tests.conftest import ROOT, encode, picture


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_source_gives_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    """Two ingests of one source are byte-identical."""
    assert ingest(Digits(), tmp_path / "data").added == 1797
    assert contents(tmp_path / "data") == contents(digits)


def test_a_source_is_added_once(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """Ingesting again adds nothing; a folder that grew adds its new pictures in a new shard, old shards stay."""
    data = tmp_path / "data"
    folder = image_folder({"a": 3, "b": 2})
    ingest(open_source(str(folder)), data)
    first = contents(data)
    again = ingest(open_source(str(folder)), data)
    assert (again.added, again.known) == (0, 5)
    assert contents(data) == first
    (folder / "a" / "new.png").write_bytes(encode(picture(99)))
    grown = ingest(open_source(str(folder)), data)
    assert (grown.added, grown.known) == (1, 5)
    assert contents(data) | first == contents(data)
    assert sorted(contents(data)) == ["00000-photos.parquet", "00001-photos.parquet"]


def test_splits_and_sources_are_recorded(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """The folder's split goes with each example, and the source's name."""
    folder = image_folder({"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 1})
    ingest(open_source(str(folder)), tmp_path / "data")
    rows = pq.read_table(tmp_path / "data").to_pylist()
    assert [(row["label"], row["split"], row["source"]) for row in rows] == [
        ("a", "test", "photos"),
        ("b", "test", "photos"),
        ("a", "train", "photos"),
        ("a", "train", "photos"),
        ("b", "train", "photos"),
    ]


def test_metadata_is_stripped() -> None:
    """No EXIF, GPS position, comment, colour profile or text survives, in PNG or JPEG; the picture does."""
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    exif.get_ifd(0x8825)[2] = (59.0, 54.0, 0.0)
    image = picture(size=(8, 6)).resize((400, 300), Image.Resampling.BICUBIC)
    jpeg = encode(image, "JPEG", exif=exif, comment=b"SECRET", icc_profile=b"SECRET-PROFILE", quality=90)
    png = encode(image, "PNG", exif=exif, icc_profile=b"SECRET-PROFILE", dpi=(7, 7))
    for original in (jpeg, png):
        stripped = strip(original)
        with Image.open(io.BytesIO(stripped)) as result, Image.open(io.BytesIO(original)) as expected:
            assert result.format == expected.format
            assert not result.getexif()
            assert not {"comment", "icc_profile", "exif"} & set(result.info)
            difference = np.asarray(result.convert("RGB")).astype(int) - np.asarray(expected.convert("RGB"))
        assert b"SECRET" not in stripped
        assert np.abs(difference).mean() < 1
        assert strip(stripped) == stripped


def test_a_jpeg_without_metadata_stays_as_it_is() -> None:
    """Encoding again costs quality, so it happens only where something has to go."""
    plain = encode(picture(), "JPEG", quality=80)
    assert strip(plain) == plain
    exif = Image.Exif()
    exif[0x010F] = "SECRET"
    assert b"SECRET" not in strip(plain + encode(picture(), "JPEG", exif=exif))
    assert strip(plain + b"hidden behind the end") == encode(Image.open(io.BytesIO(plain)), "JPEG", quality="keep")


BAD = {
    "cut.png": (encode(picture(1))[:-40], "damaged image"),
    "text.png": (b"this is text", "not a PNG or JPEG"),
    "deep.png": (encode(Image.fromarray(np.zeros((9, 9), np.uint16))), "16 bits a channel"),
    "print.jpg": (encode(picture(2).convert("CMYK"), "JPEG"), "CMYK"),
    "glass.png": (encode(Image.new("RGBA", (9, 9), (1, 2, 3, 100))), "transparent"),
}


def test_bad_files_are_all_listed_and_nothing_is_added(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """One run names every bad file with its reason, and the data folder stays as it was."""
    data = tmp_path / "data"
    folder = image_folder({"a": 3, "b": 3})
    for name, (content, _) in BAD.items():
        (folder / "a" / name).write_bytes(content)
    with pytest.raises(PipelineError) as refused:
        ingest(open_source(str(folder)), data)
    for name, (_, reason) in BAD.items():
        assert f"a/{name}: {reason}" in str(refused.value)
    assert "5 of 11 files" in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_bad_files_can_be_skipped(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """With skip_bad the good ones go in and the bad ones are returned."""
    folder = image_folder({"a": 3, "b": 3})
    for name, (content, _) in BAD.items():
        (folder / "a" / name).write_bytes(content)
    summary = ingest(open_source(str(folder)), tmp_path / "data", skip_bad=True)
    assert summary.added == 6
    assert len(summary.bad) == len(BAD)


def test_a_palette_picture_becomes_its_colours(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """A palette has one meaning: its colours, and they are what is stored."""
    folder = image_folder({"a": 1, "b": 1})
    palette = picture(5).quantize(8)
    (folder / "a" / "000.png").write_bytes(encode(palette))
    ingest(open_source(str(folder)), tmp_path / "data")
    stored = pq.read_table(tmp_path / "data").to_pylist()[0]["image"]
    with Image.open(io.BytesIO(stored)) as image:
        assert np.array_equal(np.asarray(image), np.asarray(palette.convert("RGB")))


def test_a_single_class_is_refused_unless_others_are_there(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """One class alone cannot be learned; more pictures of one class of many can be added."""
    data = tmp_path / "data"
    with pytest.raises(PipelineError, match="single class 'a'"):
        ingest(open_source(str(image_folder({"a": 2}, "one"))), data)
    ingest(open_source(str(image_folder({"a": 2, "b": 2}, "two"))), data)
    assert ingest(open_source(str(image_folder({"a": 2}, "three", first=50))), data).added == 2


def test_many_shards(image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large source fills several shards and reads back in order."""
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 1000)
    monkeypatch.setattr(shards, "SHARD_BYTES", 3000)
    folder = image_folder({"a": 20, "b": 20})
    ingest(open_source(str(folder)), tmp_path / "data")
    assert len(contents(tmp_path / "data")) > 2
    stored = [
        image
        for batch in shards.batches(shards.open_dataset(tmp_path / "data"))
        for image in batch["image"].to_pylist()
    ]
    assert stored == [strip(read()) for _, read in open_source(str(folder)).files()]


MEASURE = """
import resource, sys
from pathlib import Path
import numpy as np
from pipelines.training import ingest, shards
from pipelines.training.encoding import encode
from PIL import Image

class Generated:
    name = "generated"
    def paths(self):
        return (f"{n % 2}/{n}.png" for n in range(int(sys.argv[2])))
    def files(self):
        pixels = np.random.default_rng(0)
        for path in self.paths():
            image = Image.fromarray(pixels.integers(0, 256, (100, 100, 3), np.uint8))
            yield path, lambda image=image: encode(image)

shards.ROW_GROUP_BYTES = 2**22
ingest.ingest(Generated(), Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_source(tmp_path: Path) -> None:
    """Four times the pictures, 90 MB more, need no more than a few MB more."""

    def peak(count: int) -> int:
        command = [sys.executable, "-c", MEASURE, str(tmp_path / str(count)), str(count)]
        return int(subprocess.check_output(command, cwd=ROOT, text=True).split()[-1])

    assert peak(4000) - peak(1000) < 20_000


@pytest.mark.parametrize("name", ["p [1]", "*", "x" * 250, "café 你好", "..."])
def test_a_source_of_any_name_adds_and_never_overwrites(
    image_folder: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """Whatever the folder is called, and whichever shard is missing, a new shard gets a new number."""
    data = tmp_path / "data"
    folder = image_folder({"a": 3, "b": 3}, name)
    for count in range(3):
        (folder / "a" / f"more{count}.png").write_bytes(encode(picture(1000 + count)))
        before = contents(data) if data.exists() else {}
        ingest(open_source(str(folder)), data)
        assert contents(data) | before == contents(data)
        assert len(contents(data)) == len(before) + 1
    next(iter(sorted(data.iterdir()))).unlink()
    rest = contents(data)
    ingest(open_source(str(folder)), data)
    assert contents(data) | rest == contents(data)


def test_files_that_cannot_be_read_are_listed(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """A broken link, a pipe and a file beyond reason are bad files like others; nothing waits or crashes."""
    folder = image_folder({"a": 3, "b": 3})
    (folder / "a" / "gone.png").symlink_to("nowhere")
    os.mkfifo(folder / "a" / "pipe.png")
    summary = ingest(open_source(str(folder)), tmp_path / "data", skip_bad=True)
    assert summary.added == 6
    assert sorted(line.split(":")[0] for line in summary.bad) == ["a/gone.png", "a/pipe.png"]
