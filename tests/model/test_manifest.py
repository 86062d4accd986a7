"""model.manifest: a model is only what its manifest says it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import manifest
from model.manifest import Manifest, ManifestError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.tflite").write_bytes(b"model")
    described = Manifest(
        labels=["a", "b"],
        input_shape=(28, 28, 1),
        scheme="int8",
        data_sha256="0" * 64,
        params={"train": {"seed": 1}},
        files={"model.tflite": manifest.sha256(tmp_path / "model.tflite")},
    )
    (tmp_path / manifest.NAME).write_bytes(manifest.encode(described))
    return tmp_path


def test_round_trip(folder: Path) -> None:
    """What is written is what is read, in the same bytes each time."""
    described = manifest.load(folder)
    assert described.labels == ["a", "b"]
    assert described.input_shape == (28, 28, 1)
    assert manifest.encode(described) == (folder / manifest.NAME).read_bytes()


def test_a_changed_byte_is_noticed(folder: Path) -> None:
    """A file that is not the one described is refused by name."""
    (folder / "model.tflite").write_bytes(b"modem")
    with pytest.raises(ManifestError, match=r"model\.tflite is not the file"):
        manifest.load(folder)


def test_a_missing_file_is_noticed(folder: Path) -> None:
    """So is one that is not there, and a folder without a manifest."""
    (folder / "model.tflite").unlink()
    with pytest.raises(ManifestError, match=r"model\.tflite is missing"):
        manifest.load(folder)
    (folder / manifest.NAME).unlink()
    with pytest.raises(ManifestError, match="only with its manifest"):
        manifest.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"scheme"', '"schema"', "unknown field `schema`"),
        ('"int8"', "8", r"\$.scheme"),
        ("{", "", "malformed"),
        ('"files": {', '"files": {"../x": "0",', "not a plain file name"),
        ('"model.tflite"', '"other.tflite"', "does not name model.tflite"),
    ],
)
def test_a_malformed_manifest_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    """Unknown keys, wrong types, broken JSON and paths out of the folder are each refused."""
    path = folder / manifest.NAME
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ManifestError, match=message):
        manifest.load(folder)
