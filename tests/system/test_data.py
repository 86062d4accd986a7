"""data/ through `make`: restored, watched, added to, and never lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from tests.conftest import Project, encode, git, picture
from tests.system.gateway import Gateway


def record(project: Project) -> str:
    return (project.path / "data.dvc").read_text()


def clear_cache(project: Project) -> None:
    shutil.rmtree(project.path / ".dvc" / "cache")


def test_a_fresh_clone_rebuilds_the_recorded_data(project: Project) -> None:
    """With no remote and no cache, data/ is made from its source with the hash that data.dvc records."""
    assert "rebuilt from digits, with the recorded hash" in project.run("make", "data")
    assert git(project.path, "status", "--porcelain") == ""
    project.run("dvc", "status", "--quiet", "data.dvc")


def test_deleted_data_comes_back_and_a_changed_byte_is_noticed(project: Project) -> None:
    """From the cache, without it from the source; one flipped byte stops `make` with a way back."""
    project.run("make", "data")
    shutil.rmtree(project.path / "data")
    assert "restored from DVC's cache" in project.run("make", "data")
    shard = project.path / "data" / "00000-digits.parquet"
    intact = shard.read_bytes()
    shard.write_bytes(intact[:5000] + bytes([intact[5000] ^ 1]) + intact[5001:])
    for _ in range(2):
        refused = project.run("make", expect=2)
        assert "error: data/ is not what data.dvc records: go back with `rm -r data` and `make data`" in refused
        clear_cache(project)
        (project.path / ".dvc" / "cache").mkdir()
    shutil.rmtree(project.path / "data")
    project.run("make", "data")
    assert shard.read_bytes() == intact
    assert git(project.path, "status", "--porcelain") == ""


def test_a_remote_comes_before_the_source(project: Project, tmp_path: Path) -> None:
    """A configured remote is pulled from; one that has nothing, or lies, is told, and the source is taken."""
    project.run("make", "data")
    project.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    project.run("dvc", "config", "remote.store.verify", "true")
    project.run("dvc", "push", "--quiet")
    clear_cache(project)
    shutil.rmtree(project.path / "data")
    assert "restored from the remote" in project.run("make", "data")
    for file in (tmp_path / "store").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(b"tampered")
    clear_cache(project)
    shutil.rmtree(project.path / "data")
    told = project.run("make", "data")
    assert "warning: dvc pull" in told
    assert "rebuilt from digits, with the recorded hash" in told


def test_data_that_cannot_be_had_is_said(project: Project, image_folder: Callable[..., Path]) -> None:
    """When neither cache, remote nor source has the recorded data, nothing else takes its place."""
    folder = image_folder({"a": 30, "b": 30})
    project.run("make", "data", f"SOURCE={folder}", "REPLACE=yes")
    before = record(project)
    shutil.rmtree(project.path / "data")
    clear_cache(project)
    assert "data/ cannot be restored: no cache or remote has" in project.run("make", "data", expect=2)
    assert record(project) == before
    assert not (project.path / "data").exists()


def test_sources_are_added_and_replaced(project: Project, image_folder: Callable[..., Path]) -> None:
    """SOURCE adds a shard beside the old, which stay; REPLACE starts over; a bad source changes nothing."""
    digits = image_folder({str(number): 2 for number in range(10)}, "it's mine")
    project.run("make", "data")
    old = {path.name: path.read_bytes() for path in (project.path / "data").iterdir()}
    assert "it's mine: 20 images added" in project.run("make", "data", f"SOURCE={digits}")
    new = {path.name: path.read_bytes() for path in (project.path / "data").iterdir()}
    assert old.items() < new.items()
    before = record(project)
    (digits / "3" / "broken.png").write_bytes(b"")
    assert "3/broken.png: not a PNG" in project.run("make", "data", f"SOURCE={digits}", "REPLACE=yes", expect=2)
    assert record(project) == before
    skipped = project.run("make", "data", f"SOURCE={digits}", "REPLACE=yes", "SKIP_BAD=yes")
    assert "1 files skipped: see reports/skipped.txt" in skipped
    assert "3/broken.png" in (project.path / "reports" / "skipped.txt").read_text()
    assert [path.name for path in (project.path / "data").iterdir()] == ["00000-it-s-mine.parquet"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"cat": 3, "dog": 0}, "class 'dog' is empty"),
        ({"cat": 3}, "single class 'cat'"),
        ({"cat/young": 1, "dog": 1}, "images in cat/young: expected <label>/<image>"),
    ],
)
def test_a_bad_source_has_its_message(
    project: Project, image_folder: Callable[..., Path], counts: dict[str, int], message: str
) -> None:
    """The error is one line, the exit code is not zero, and no data appears."""
    refused = project.run("make", "data", f"SOURCE={image_folder(counts)}", "REPLACE=yes", expect=2)
    assert message in refused
    assert "Traceback" not in refused
    assert not (project.path / "data").exists()
    assert git(project.path, "status", "--porcelain") == ""


def test_a_source_on_s3(project: Project, s3: Gateway) -> None:
    """A prefix of a real bucket becomes the same shard as the same folder; a wrong secret or bucket is said."""
    environment = s3.environment()
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="pictures")
    for number in range(24):
        body = encode(picture(number))
        client.put_object(
            Bucket="pictures", Key=f"raw/animals/{'cat' if number % 2 else 'dog'}/{number}.png", Body=body
        )
    location = "s3://pictures/raw/animals"
    output = project.run("make", "data", f"SOURCE={location}", "REPLACE=yes", **environment)
    assert "animals: 24 images added" in output
    before = record(project)
    wrong = environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    assert "SignatureDoesNotMatch" in project.run("make", "data", f"SOURCE={location}", expect=2, **wrong)
    missing = project.run("make", "data", "SOURCE=s3://nowhere/x", expect=2, **environment)
    assert "error: s3://nowhere/x:" in missing
    assert record(project) == before
