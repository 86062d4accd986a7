"""From pictures that servers kept to folders of labels, and from there to an accuracy and to training data."""

from __future__ import annotations

import io
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from PIL.Image import fromarray

from model import sample
from model.sample import Sample
from pipelines.operations import feedback
from pipelines.training.ingest import ingest
from pipelines.training.sources.folder import Folder
from tests.conftest import ROOT

KEY = X25519PrivateKey.generate()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def keep(folder: Path, number: int, label: str, request_id: str = "") -> None:
    """Seal a picture as a server does."""
    with io.BytesIO() as file:
        fromarray(np.full((8, 8), number, np.uint8)).save(file, "PNG")
        found = Sample(request_id or f"r{number}", NOON + timedelta(days=number), "v1.0.0", label, file.getvalue())
    (folder / "2026-03-01").mkdir(parents=True, exist_ok=True)
    (folder / "2026-03-01" / f"{number}.sealed").write_bytes(sample.seal(found, KEY.public_key()))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "samples.pem"
    file.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def make(folder: Path, key: Path, into: Path, expect: int = 0) -> str:
    command = ["make", "--silent", "samples", f"SAMPLES={folder}", f"KEY={key}", f"INTO={into}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == expect, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_from_sealed_pictures_to_labels(tmp_path: Path, key: Path) -> None:
    """Each lies where the model put it; once a wrong one is moved, the folder is labels and data."""
    for number in range(4):
        keep(tmp_path / "samples" / f"s{number % 2}", number, "7")
    keep(tmp_path / "samples" / "s1", 9, "1", request_id="r0")  # a client's id, used again
    (tmp_path / "samples" / "empty.sealed").touch()  # a host that lost power
    into = tmp_path / "labelled"
    output = make(tmp_path / "samples", key, into)
    assert "left out: 1 sealed for another key, or damaged, such as" in output
    assert "4 pictures from 2026-03-01 to 2026-03-10, of v1.0.0" in output
    assert "left out: 1 of request ids that were there before" in output
    assert sorted(path.relative_to(into).as_posix() for path in into.rglob("*.png")) == [
        f"7/r{n}.png" for n in range(4)
    ]
    (into / "1").mkdir()
    (into / "7" / "r2.png").rename(into / "1" / "r2.png")
    log = tmp_path / "access.log"
    lines = [{"http.request.id": f"r{n}", "labels.class": "7", "labels.release": "v1.0.0"} for n in range(4)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = feedback.join(feedback.read_labels(into), log, 0.95)
    assert (found.releases["v1.0.0"].examples, found.releases["v1.0.0"].accuracy) == (4, 0.75)
    ingest(Folder(into), tmp_path / "data")
    assert list((tmp_path / "data").glob("*.parquet"))


@pytest.mark.parametrize(
    ("target", "missing"), [("samples", "samples"), ("samples SAMPLES=x", "key"), ("feedback", "labels")]
)
def test_what_is_not_named(target: str, missing: str) -> None:
    """A variable that make was not given is none, and no folder that happens to be here."""
    result = subprocess.run(
        ["make", "--silent", *target.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert f"error: argument {missing}: nothing is named" in result.stderr


def test_what_cannot_be_unsealed(tmp_path: Path, key: Path) -> None:
    """Is said, and no folder is made; one that is there stays as it is."""
    folder, into = tmp_path / "samples", tmp_path / "labelled"
    assert "has no pictures" in make(folder, key, into, expect=2)
    keep(folder, 1, "7")
    other = tmp_path / "other.pem"
    private = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other.write_bytes(private)
    assert "has 1 pictures, all of them sealed for another key, or damaged" in make(folder, other, into, expect=2)
    other.write_text("nothing")
    assert "other.pem is no private X25519 key" in make(folder, other, into, expect=2)
    for label, request_id in (
        ("../x", "r"),
        ("..", "r"),
        ("", "r"),
        (".x", "r"),
        ("7\0", "r"),
        ("7", "/tmp/r"),
        ("7", ".."),
    ):
        keep(folder, 2, label, request_id)
        assert "cannot be the name of a file" in make(folder, key, into, expect=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.pem", "samples", "samples.pem"]
    into.mkdir()
    assert "is there already, perhaps with labels" in make(folder, key, into, expect=2)
