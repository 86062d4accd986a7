"""Backups on a real S3 service: only what is new is copied, all of it comes back, and what was changed is refused."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from botocore.exceptions import ClientError

from model.release import BUNDLE
from pipelines import s3 as library
from pipelines.command import PipelineError
from pipelines.delivery import settings
from pipelines.delivery.settings import Keep
from pipelines.recovery import restore, retention, snapshots
from pipelines.recovery.snapshots import OBJECTS, Entry, Snapshot
from tests.conftest import Project, git
from tests.system.conftest import copy_of, make_bucket
from tests.system.gateway import Gateway

Keys = dict[str, str]


@pytest.fixture(scope="module")
def backed(
    released: tuple[Project, str], s3: Gateway, signing_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project with a release in production, in buckets of its own, and a backup of all of it."""
    project = copy_of(released[0], tmp_path_factory.mktemp("backed") / "project")
    git(project.path, "tag", "--delete", "v1.0.0", "classifier@v1.0.0")
    project.edit("delivery.yaml", "s3://released", "s3://backed")
    make_bucket(s3, "backed")
    make_bucket(s3, "backed-data")
    project.edit(".dvc/config", "released-data", "backed-data")
    project.run("dvc", "push", **s3.environment())
    git(project.path, "commit", "--quiet", "--all", "--message", "Own buckets")
    git(project.path, "tag", "--annotate", "v1.0.0", "--message", "First")
    project.run("make", "release", "TAG=v1.0.0", SIGNING_KEY=str(signing_key), **s3.environment())
    for environment in ("staging", "production"):
        project.run("make", "promote", f"ENV={environment}", "TAG=v1.0.0", **s3.environment())
    assert "there is no such bucket" in project.run("make", "backup", expect=2, **s3.environment())
    project.run("python", "-m", "pipelines.recovery.protect", **s3.environment())
    project.run("make", "backup", **s3.environment())
    return project


def new_bytes(output: str) -> int:
    return int(output.split("of which ")[1].split(" are new", maxsplit=1)[0].replace(",", ""))


def test_only_what_is_new_is_copied(backed: Project, s3: Gateway) -> None:
    """Nothing at first, then a commit, then a data set's new shard; Prometheus is told."""
    assert new_bytes(backed.run("make", "backup", **s3.environment())) == 0
    git(backed.path, "commit", "--quiet", "--allow-empty", "--message", "Words")
    output = backed.run("make", "backup", **s3.environment())
    repository = int(git(backed.path, "count-objects", "-v").split("size-pack: ")[1].split()[0]) * 1024
    assert 0 < new_bytes(output) < max(repository, 10_000_000)
    told = (backed.path / "reports" / "backup.prom").read_text()
    values = dict(line.split() for line in told.splitlines() if not line.startswith("#"))
    assert float(values["slipway_backup_copied_bytes"]) == new_bytes(output)
    assert time.time() - 600 < float(values["slipway_backup_last_success_timestamp_seconds"]) < time.time()


def test_the_bucket_is_protected(backed: Project, s3: Gateway) -> None:
    """It keeps versions, nobody deletes one, and what was deleted is forgotten only after a while."""
    client = s3.client()
    assert client.get_bucket_versioning(Bucket="backed-backup")["Status"] == "Enabled"
    versions = client.list_object_versions(Bucket="backed-backup", MaxKeys=1)["Versions"]
    with pytest.raises(ClientError, match="forbidden by object lock"):
        client.delete_object(Bucket="backed-backup", Key=versions[0]["Key"], VersionId=versions[0]["VersionId"])
    rules = client.get_bucket_lifecycle_configuration(Bucket="backed-backup")["Rules"]
    assert rules[0]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 60}
    assert "as in policy.yaml" in backed.run("python", "-m", "pipelines.recovery.protect", **s3.environment())


def test_all_is_lost(backed: Project, s3: Gateway, tmp_path: Path) -> None:
    """The first buckets and the clone are gone: the drill proves the backup, and out of it comes all, byte for byte."""
    project = copy_of(backed, tmp_path / "project")
    before = contents(s3, "backed") | contents(s3, "backed-data")
    references = git(project.path, "for-each-ref", "refs/heads", "refs/tags")
    tool = copy_of(backed, tmp_path / "tool")
    shutil.rmtree(tool.path / ".dvc" / "cache")
    shutil.rmtree(project.path)
    client = s3.client()
    for bucket in ("backed", "backed-data"):
        client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in contents(s3, bucket)]})
        client.delete_bucket(Bucket=bucket)
    output = tool.run("make", "restore-drill", **s3.environment())
    assert "Git finds no fault, and `dvc status` is clean" in output
    assert "v1.0.0 gives the recorded metrics" in output
    assert "brings everything back" in output
    assert "slipway_restore_drill_last_success" in (tool.path / "reports" / "drill.prom").read_text()

    for bucket in ("backed", "backed-data"):
        make_bucket(s3, bucket)
    assert "is there already" in tool.run("make", "restore", f"INTO={tool.path}", expect=2, **s3.environment())
    tool.run("make", "restore", f"INTO={project.path}", "REFILL=yes", **s3.environment())
    assert git(project.path, "for-each-ref", "refs/heads", "refs/tags") == references
    after = contents(s3, "backed") | contents(s3, "backed-data")
    assert after.keys() >= {key for key in before if "/runs/" not in key}
    assert all(after[key] == before[key] for key in after)
    (project.path / ".venv").symlink_to(tool.path / ".venv")
    assert "v1.0.0 holds" in project.run("make", "verify-release", "TAG=v1.0.0", **s3.environment())
    assert "up to date" in project.run("dvc", "status", **s3.environment())
    assert git(project.path, "status", "--porcelain") == ""


def contents(s3: Gateway, bucket: str) -> dict[str, bytes]:
    client = s3.client()
    keys = [each["Key"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@pytest.fixture
def place(backed: Project, s3: Gateway, monkeypatch: pytest.MonkeyPatch) -> library.Folder:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return snapshots.place(settings.load(backed.path / "delivery.yaml"))


def flip(s3: Gateway, bucket: str, key: str) -> Callable[[], None]:
    """Change a byte of an object; return what puts it back."""
    client = s3.client()
    content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    wrong = bytearray(content)
    wrong[len(wrong) // 2] ^= 1
    client.put_object(Bucket=bucket, Key=key, Body=bytes(wrong))
    return lambda: client.put_object(Bucket=bucket, Key=key, Body=content)


def test_a_backup_with_a_flipped_byte(backed: Project, s3: Gateway, place: library.Folder, tmp_path: Path) -> None:
    """The restore names the file and leaves nothing behind; what is missing the next backup brings again."""
    newest = snapshots.newest(place)
    assert newest
    entry = next(each for each in newest.data if each.size > 1000)
    back = flip(s3, place.bucket, (place / OBJECTS).key(entry.key))
    output = backed.run("make", "restore", f"INTO={tmp_path / 'restored'}", expect=2, **s3.environment())
    assert f"({entry.path}) is not what it was" in output
    assert list(tmp_path.iterdir()) == []
    back()
    (place / OBJECTS).delete([entry.key])
    output = backed.run("make", "restore", f"INTO={tmp_path / 'restored'}", expect=2, **s3.environment())
    assert f"{entry.key} is not there" in output
    assert new_bytes(backed.run("make", "backup", **s3.environment())) == entry.size
    backed.run("make", "restore", f"INTO={tmp_path / 'restored'}", **s3.environment())
    wrong = backed.run("make", "restore", f"INTO={tmp_path / 'x'}", "SNAPSHOT=yesterday", expect=2, **s3.environment())
    assert "'yesterday' is no snapshot" in wrong


def test_a_source_that_was_tampered_with(backed: Project, s3: Gateway, tmp_path: Path) -> None:
    """Neither a changed object of the DVC remote nor a changed release gets into a backup; what was good stays."""
    project = copy_of(backed, tmp_path / "project")
    shutil.rmtree(project.path / ".dvc" / "cache")
    (project.path / "reports" / "backup.prom").unlink(missing_ok=True)
    project.edit("delivery.yaml", "s3://backed-backup/team", "s3://backed-backup/other")
    remote = "digits/files/md5/"
    key = max(
        (each for each in s3.client().list_objects_v2(Bucket="backed-data", Prefix=remote)["Contents"]),
        key=lambda each: each["Size"],
    )["Key"]
    back = flip(s3, "backed-data", key)
    output = project.run("make", "backup", expect=2, **s3.environment())
    assert "is not what it was: its md5 is" in output
    assert s3.client().list_objects_v2(Bucket="backed-backup", Prefix="other/snapshots")["KeyCount"] == 0
    back()
    back = flip(s3, "backed", f"team/releases/v1.0.0/{BUNDLE}")
    output = project.run("make", "backup", expect=2, **s3.environment())
    assert "without v1.0.0: the signature does not hold" in output
    assert not (project.path / "reports" / "backup.prom").exists()
    back()
    project.run("make", "backup", **s3.environment())
    back = flip(s3, "backed", f"team/releases/v1.0.0/{BUNDLE}")
    assert "without v1.0.0" in project.run("make", "backup", expect=2, **s3.environment())
    back()
    assert "v1.0.0 gives the recorded metrics" in project.run("make", "restore-drill", **s3.environment())


@pytest.mark.parametrize("path", ["/etc/x", "../x", ".git/config", "dist/v1.0.0/../../x", ".dvc/config"])
def test_a_list_that_leads_elsewhere(place: library.Folder, path: str) -> None:
    """Who can write to the bucket can still not make a restore write what it should not."""
    newest = snapshots.newest(place)
    assert newest
    wrong = library.Folder(place.client, place.bucket, f"wrong-{abs(hash(path))}/")
    snapshots.write(wrong, msgspec.structs.replace(newest, data=[Entry(path, "md5:" + "a" * 32, 1)]))
    with pytest.raises(PipelineError, match="is damaged"):
        restore.find(wrong, None)


def test_a_year_of_backups(place: library.Folder) -> None:
    """Of daily backups exactly those of the policy stay, with their files, and the one whose release still runs."""
    year = library.Folder(place.client, place.bucket, "year/")
    shared = Entry("repository.bundle", "sha256:" + "a" * 64, 1)
    (year / OBJECTS).create(shared.key, b"x")
    start = datetime(2025, 11, 18, 3, tzinfo=UTC)
    for day in range(365):
        own = Entry(f".dvc/cache/files/md5/00/{day:030x}", f"md5:{day:032x}", 1)
        (year / OBJECTS).create(own.key, b"x")
        held = {"v1.0.0": [own]} if day == 50 else {}
        snapshots.write(
            year,
            Snapshot(
                time=start + timedelta(days=day),
                folder="",
                references={},
                environments={"staging": "", "production": "v1.0.0"},
                git=shared,
                data=[own],
                releases=held,
            ),
        )
    keep = Keep(daily=7, weekly=5, monthly=12, yearly=3)
    times = {snapshots.time_of(name) for name in snapshots.names(year)}
    wanted = retention.kept(times, keep) | {start + timedelta(days=50)}
    assert retention.retain(year, keep) == (365 - len(wanted), 0)
    assert {snapshots.time_of(name) for name in snapshots.names(year)} == wanted
    later = datetime.now(UTC) + timedelta(days=2)
    assert retention.retain(year, keep, later) == (0, 365 - len(wanted))
    assert len((year / OBJECTS).objects()) == len(wanted) + 1
    for name in snapshots.names(year):
        assert {entry.key for entry in snapshots.read(year, name).entries} <= set((year / OBJECTS).objects())


def test_there_is_nothing_to_restore(place: library.Folder) -> None:
    """An empty bucket and a damaged list are told apart."""
    empty = library.Folder(place.client, place.bucket, "empty/")
    with pytest.raises(PipelineError, match="has no backup: `make backup` makes one"):
        restore.find(empty, None)
    (empty / "snapshots").create("20261123T041500Z.json", msgspec.json.encode({"time": "now"}))
    with pytest.raises(PipelineError, match="snapshot 20261123T041500Z is damaged"):
        restore.find(empty, None)
