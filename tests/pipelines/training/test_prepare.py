"""pipelines.training.prepare: shards become one array that is checked, split and described."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from model.inputs import to_batch
from pipelines import params
from pipelines.command import PipelineError
from pipelines.training.dataset import Dataset
from pipelines.training.ingest import ingest
from pipelines.training.prepare import prepare
from pipelines.training.sources import open_source
from tests.conftest import ROOT, encode, picture

SETTINGS = params.Prepare(height=12, width=10, channels=3, validation=0.2, test=0.3)
LABELS = [f"{number % 2}" for number in range(200)]


def write_shard(folder: Path, name: str = "own", first: int = 0, **columns: Sequence[object]) -> None:
    """Write a shard by hand, as an adopter may: pictures of consecutive numbers."""
    count = len(next(iter(columns.values())))
    images = [encode(picture(first + number)) for number in range(count)]
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": images} | columns), folder / f"{name}.parquet")


def splits(folder: Path) -> dict[str, str]:
    table = Dataset(folder).examples
    return dict(zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_pixels_come_through_the_one_input_path(tmp_path: Path) -> None:
    """The array holds what model.inputs makes of each image, in the order of the shards."""
    write_shard(tmp_path / "data", label=LABELS)
    prepare(tmp_path / "data", tmp_path / "out", SETTINGS)
    expected = to_batch([encode(picture(number)) for number in range(200)], SETTINGS.shape)
    assert np.array_equal(Dataset(tmp_path / "out").images, expected)


def test_the_same_data_gives_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    """Preparing twice is byte-identical."""
    for name in ("one", "two"):
        prepare(digits, tmp_path / name, SETTINGS)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_second_source_moves_nothing(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """Old examples keep their splits, and pictures that both sources have are in one split, as first seen."""
    data = tmp_path / "data"
    first = image_folder({"a": 60, "b": 60}, "zeta")
    ingest(open_source(str(first)), data)
    prepare(data, tmp_path / "before", SETTINGS)
    second = image_folder({"train/a": 30, "train/b": 30, "test/a": 30, "test/b": 30}, "alpha", first=40)
    ingest(open_source(str(second)), data)
    schema = prepare(data, tmp_path / "after", SETTINGS)
    before, after = splits(tmp_path / "before"), splits(tmp_path / "after")
    assert {name: after[name] for name in before} == before
    assert schema.duplicates == 80
    assert schema.moved > 0
    table = Dataset(tmp_path / "after").examples
    seen: dict[str, str] = {}
    for name, split in zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True):
        assert seen.setdefault(name, split) == split


def test_pictures_that_resizing_makes_equal_stay_together(tmp_path: Path) -> None:
    """A picture and its enlargement, which the network cannot tell apart, are never in different splits."""
    folder = tmp_path / "data"
    folder.mkdir()
    small = [picture(number) for number in range(100)]
    large = [image.resize((100, 120), 0) for image in small]  # nearest neighbour, so that shrinking gives it back
    images = [encode(image) for image in small + large]
    pq.write_table(pa.table({"image": images, "label": ["a", "b"] * 100}), folder / "x.parquet")
    settings = msgspec.structs.replace(SETTINGS, height=10, width=12)
    schema = prepare(folder, tmp_path / "out", settings)
    found = Dataset(tmp_path / "out")
    pixels: dict[bytes, str] = {}
    for image, split in zip(found.images, found.examples["split"].to_pylist(), strict=True):
        assert pixels.setdefault(image.tobytes(), split) == split
    assert schema.examples == 200


def test_extra_columns_and_missing_ones(tmp_path: Path) -> None:
    """Columns of any shard are kept, null where a shard has none; a shard needs only image and label."""
    write_shard(tmp_path / "data", "one", label=LABELS, camera=["x", "y"] * 100)
    write_shard(tmp_path / "data", "two", first=500, label=LABELS)
    prepare(tmp_path / "data", tmp_path / "out", SETTINGS)
    table = Dataset(tmp_path / "out").examples
    assert table["camera"].to_pylist() == ["x", "y"] * 100 + [None] * 200


def test_contradictory_labels_are_listed(tmp_path: Path) -> None:
    """The same picture under two labels is kept, and named in the schema."""
    write_shard(tmp_path / "data", "one", label=LABELS)
    write_shard(tmp_path / "data", "two", label=["1"])
    schema = prepare(tmp_path / "data", tmp_path / "out", SETTINGS)
    assert schema.label_conflicts == [Dataset(tmp_path / "out").examples["id"].to_pylist()[0]]


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    """Class 10 comes after class 9, also where labels are stored as categories."""
    write_shard(tmp_path / "data", label=pa.array([str(number % 12) for number in range(400)]).dictionary_encode())
    assert prepare(tmp_path / "data", tmp_path / "out", SETTINGS).labels == [str(number) for number in range(12)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["a"] * 50}, "single class 'a'"),
        (
            {"label": ["a"] * 49 + ["b"]},
            "no train example of 'b': add images",
        ),
        ({"label": LABELS, "split": ["train"] * 199 + ["tset"]}, "unknown split 'tset' in data/"),
        ({"label": LABELS, "split": ["train"] * 200}, "no test example at all: .* states only a training split"),
        ({"label": LABELS, "id": LABELS}, "has a column 'id', which the pipeline writes itself"),
        ({"label": list(range(50))}, r"own\.parquet is not a shard of images: column label is int64, expected string"),
        ({"text": LABELS}, "200 examples without a label"),
        ({"label": ["a", None] * 50}, "without a label"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(
    tmp_path: Path, columns: dict[str, list[object]], message: str
) -> None:
    """Each fault of the data is named, with what would repair it."""
    write_shard(tmp_path / "data", **columns)
    with pytest.raises(PipelineError, match=message):
        prepare(tmp_path / "data", tmp_path / "out", SETTINGS)


def test_blank_images_are_refused(tmp_path: Path) -> None:
    """Pictures that hold nothing are no data, and the range of real ones is recorded."""
    blank = [encode(Image.new("L", (9, 9 + number))) for number in range(100)]
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"image": blank, "label": ["a", "b"] * 50}), tmp_path / "data" / "x.parquet")
    with pytest.raises(PipelineError, match="every pixel of .* has the value 0: the images are blank"):
        prepare(tmp_path / "data", tmp_path / "out", SETTINGS)
    write_shard(tmp_path / "good", label=LABELS)
    low, high = prepare(tmp_path / "good", tmp_path / "out", SETTINGS).pixel_range
    assert low < 10
    assert high > 245


def test_broken_shards_are_refused(tmp_path: Path) -> None:
    """An empty folder, a file that is not Parquet and an image that does not decode are told apart."""
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(PipelineError, match="holds no examples"):
        prepare(data, tmp_path / "out", SETTINGS)
    pq.write_table(pa.table({"image": [b"?"], "label": ["a"]}), data / "x.parquet")
    with pytest.raises(PipelineError, match="class 'a' in data/: not a PNG"):
        prepare(data, tmp_path / "out", SETTINGS)
    (data / "x.parquet").write_bytes(b"not parquet")
    with pytest.raises(PipelineError, match=r"x\.parquet is not a shard of images"):
        prepare(data, tmp_path / "out", SETTINGS)


MEASURE = """
import re, sys, threading, time
from pathlib import Path
from pipelines import params
from pipelines.training.prepare import prepare
peak = 0
def watch():
    global peak
    while True:
        # Without pages of the memory-mapped array, which the system takes back when it needs them.
        peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
prepare(Path(sys.argv[1]), Path(sys.argv[2]), params.Prepare(height=96, width=96, channels=3, validation=.2, test=.2))
print(peak)
"""


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    """Eight times the images, 170 MB more of pixels on disk, stay out of memory."""

    def peak(copies: int) -> int:
        data = tmp_path / f"data{copies}"
        for copy in range(copies):
            write_shard(data, str(copy), first=1000 * copy, label=[str(number % 2) for number in range(900)])
        command = [sys.executable, "-c", MEASURE, str(data), str(tmp_path / f"out{copies}")]
        return int(subprocess.check_output(command, cwd=ROOT, text=True).split()[-1])

    assert peak(8) - peak(1) < 60_000
