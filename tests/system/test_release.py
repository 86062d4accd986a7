"""Releases on a real S3 service: published once and whole, whatever fails, and refused when tampered with."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from model.release import BUNDLE, PROVENANCE, SIGNATURE
from pipelines.command import PipelineError
from pipelines.delivery import settings, store
from pipelines.delivery.settings import Settings
from tests.conftest import ROOT, Project, flip, git, need, wait_for
from tests.system.conftest import copy_of, make_bucket
from tests.system.containers import PROGRAMS as CONTAINERS
from tests.system.containers import Podman
from tests.system.gateway import PROGRAMS, Gateway, gateway

PUBLISH = """
import sys
from pathlib import Path
from pipelines.command import run
from pipelines.delivery import settings, store
chosen = settings.load()
run(lambda: print(store.publish(store.releases(chosen), "v1.0.0", Path(sys.argv[1]), chosen)))
"""
LARGE = 300_000_000


@pytest.fixture
def built(released: tuple[Project, str], tmp_path: Path) -> Path:
    """The release as it was built, not yet signed."""
    folder = tmp_path / "built"
    shutil.copytree(released[0].path / "dist" / "v1.0.0", folder)
    (folder / SIGNATURE).unlink()
    return folder


@pytest.fixture
def chosen(
    released: tuple[Project, str], s3: Gateway, signing_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings of an own bucket; this process has the keys to it."""
    project = released[0].path
    make_bucket(s3, bucket := f"own-{abs(hash(tmp_path)):x}"[:40])
    for name, value in (s3.environment() | {"SIGNING_KEY": str(signing_key)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    text = (project / "delivery.yaml").read_text()
    Path("delivery.yaml").write_text(text.replace("s3://released/team", f"s3://{bucket}/team"))
    shutil.copy(project / "release.pem", tmp_path)
    return settings.load()


def test_from_a_tag_to_a_release(released: tuple[Project, str], s3: Gateway, signing_key: Path) -> None:
    """It is judged, published and verified; made again it has the same bytes and is published no second time."""
    project, output = released
    assert "judged against floors alone" in output
    assert "v1.0.0 holds: signed by release.pem" in output
    assert "v1.0.0 is published" in output
    assert "v1.0.0 holds" in project.run("make", "verify-release", "TAG=v1.0.0", **s3.environment())
    assert "v2.0.0 is not published" in project.run(
        "make", "verify-release", "TAG=v2.0.0", expect=2, **s3.environment()
    )
    before = (project.path / "dist" / "v1.0.0" / BUNDLE).read_bytes()
    output = project.run("make", "release", "TAG=v1.0.0", SIGNING_KEY=str(signing_key), **s3.environment())
    assert "v1.0.0 was published already, with the same bytes" in output
    assert (project.path / "dist" / "v1.0.0" / BUNDLE).read_bytes() == before
    said = json.loads((project.path / "dist" / "v1.0.0" / PROVENANCE).read_bytes())
    commit = said["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"]
    assert commit == git(project.path, "rev-parse", "v1.0.0^{commit}").strip()


def test_other_bytes_of_a_published_release(chosen: Settings, built: Path) -> None:
    """A release does not change: the second is refused, and the first holds as before."""
    folder = store.releases(chosen)
    assert store.publish(folder, "v1.0.0", built, chosen)
    other = built.with_name("other")
    shutil.copytree(built, other)
    with (other / BUNDLE).open("ab") as file:
        file.write(bytes(512))
    with pytest.raises(PipelineError, match="v1.0.0 is published with other bytes"):
        store.publish(folder, "v1.0.0", other, chosen)
    store.fetch(folder, "v1.0.0", other)
    store.verify(other, "v1.0.0", chosen)


def test_many_publishers_at_once(chosen: Settings, built: Path, tmp_path: Path) -> None:
    """Exactly one publishes, the others find it done, and what is there holds in every byte."""
    folders = [shutil.copytree(built, tmp_path / f"publisher-{number}") for number in range(4)]
    results: list[bool] = []

    def work(release: Path) -> None:
        results.append(store.publish(store.releases(chosen), "v1.0.0", release, chosen))

    threads = [threading.Thread(target=work, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True]
    store.fetch(store.releases(chosen), "v1.0.0", built)
    store.verify(built, "v1.0.0", chosen)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "guess", "these credentials are refused"),
        ("AWS_ACCESS_KEY_ID", "nobody", "these credentials are refused"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", "cannot be reached"),
        ("SIGNING_KEY", "c2VjcmV0" * 40, "SIGNING_KEY is neither the text of a PEM file nor the name of one"),
    ],
)
def test_what_is_set_wrong(  # noqa: PLR0913, PLR0917 (a case's three)
    chosen: Settings, built: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    """The error says what, nothing is a release after it, and set right the same command completes."""
    with monkeypatch.context() as wrong:
        wrong.setenv(variable, value)
        with pytest.raises(PipelineError, match=said) as error:
            store.publish(store.releases(chosen), "v1.0.0", built, chosen)
        assert value not in str(error.value) or value.startswith("http")
    assert store.published(store.releases(chosen)) == []
    assert store.publish(store.releases(chosen), "v1.0.0", built, chosen)


@pytest.mark.usefixtures("chosen")
def test_a_bucket_that_is_not_there(built: Path) -> None:
    """The error names it."""
    text = Path("delivery.yaml").read_text().replace("s3://own-", "s3://gone-")
    Path("delivery.yaml").write_text(text)
    other = settings.load()
    with pytest.raises(PipelineError, match="s3://gone-.*there is no such bucket"):
        store.publish(store.releases(other), "v1.0.0", built, other)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: Settings) -> Gateway:
    """A service of its own, which may be killed."""
    need(*PROGRAMS)
    (tmp_path / "ceph").mkdir()
    with gateway(tmp_path / "ceph") as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        make_bucket(running, (chosen.releases or "").split("/")[2])
        yield running


@pytest.fixture
def large(built: Path) -> Path:
    """A release whose upload takes a while; its bytes are no bundle, which publishing does not ask."""
    with (built / BUNDLE).open("r+b") as file:
        file.truncate(LARGE)
    return built


def parts(chosen: Settings) -> int:
    """Return how many parts of an unfinished upload are there."""
    folder = store.releases(chosen)
    uploads = folder.client.list_multipart_uploads(Bucket=folder.bucket).get("Uploads", [])
    found = [
        folder.client.list_parts(Bucket=folder.bucket, Key=each["Key"], UploadId=each["UploadId"]) for each in uploads
    ]
    return sum(len(each.get("Parts", [])) for each in found)


def start(release: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISH, release]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.usefixtures("own")
def test_a_publisher_that_is_killed(large: Path, chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is published; the second run sends the parts that are missing, and no others."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    process = start(large)
    wait_for(lambda: parts(chosen) >= 3, "three parts")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = parts(chosen)
    assert 3 <= there < LARGE // (8 * 1024 * 1024)
    assert store.published(store.releases(chosen)) == []
    sent: list[int] = []
    folder = store.releases(chosen)
    folder.client.meta.events.register("before-call.s3.UploadPart", lambda **_: sent.append(1))
    assert store.publish(folder, "v1.0.0", large, chosen)
    assert len(sent) == -(-LARGE // (8 * 1024 * 1024)) - there
    assert store.published(folder) == ["v1.0.0"]
    assert folder.client.list_multipart_uploads(Bucket=folder.bucket).get("Uploads", []) == []


def test_a_service_that_is_killed(own: Gateway, large: Path, chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher ends with an error that names it; when the service is back the second run completes."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    process = start(large)
    wait_for(lambda: parts(chosen) >= 3, "three parts")
    own.stop()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "error: s3://" in output
    assert "cannot be reached" in output
    own.restart()
    assert store.published(store.releases(chosen)) == []
    assert store.publish(store.releases(chosen), "v1.0.0", large, chosen)


def test_a_bucket_that_is_full(own: Gateway, large: Path, chosen: Settings) -> None:
    """The error says so, nothing is published, and with more room the second run completes."""
    own.limit(100_000_000)
    with pytest.raises(PipelineError, match="the bucket is full"):
        store.publish(store.releases(chosen), "v1.0.0", large, chosen)
    assert store.published(store.releases(chosen)) == []
    own.limit(1_000_000_000)
    assert store.publish(store.releases(chosen), "v1.0.0", large, chosen)


def append(folder: Path) -> None:
    with (folder / BUNDLE).open("ab") as file:
        file.write(b"\0")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip(BUNDLE), f"mismatch.*{BUNDLE}"),
        (append, f"mismatch.*{BUNDLE}"),
        (flip(PROVENANCE), f"mismatch.*{PROVENANCE}"),
        (flip(SIGNATURE), "the signature does not hold"),
        (lambda folder: (folder / SIGNATURE).unlink(), "the release is not signed"),
        (lambda folder: (folder / PROVENANCE).unlink(), f"mismatch.*{PROVENANCE}"),
        (lambda folder: (folder / BUNDLE).unlink(), f"mismatch.*{BUNDLE}"),
        (lambda folder: (folder / "extra").touch(), "mismatch.*extra"),
        (lambda folder: (folder / ".gitignore").touch(), "mismatch.*gitignore"),
    ],
)
def test_a_release_that_was_tampered_with(
    released: tuple[Project, str], chosen: Settings, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    """Any byte, a file too many or too few: each is refused and named."""
    folder = shutil.copytree(released[0].path / "dist" / "v1.0.0", tmp_path / "release")
    assert store.verify(folder, "v1.0.0", chosen)[0] == "release.pem"
    damage(folder)
    with pytest.raises(PipelineError, match=f"(?s){said}"):
        store.verify(folder, "v1.0.0", chosen)


def test_another_key(released: tuple[Project, str], chosen: Settings, tmp_path: Path) -> None:
    """A sound signature of somebody else is refused, and so is a release under another name."""
    folder = shutil.copytree(released[0].path / "dist" / "v1.0.0", tmp_path / "release")
    with pytest.raises(PipelineError, match="holds v1.0.0, expected v1.0.1"):
        store.verify(folder, "v1.0.1", chosen)
    key = "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -out release.pem"
    subprocess.run(key, shell=True, check=True)
    with pytest.raises(PipelineError, match="the signature does not hold for release.pem"):
        store.verify(folder, "v1.0.0", chosen)


def test_promotion_and_the_way_back(
    released: tuple[Project, str], s3: Gateway, signing_key: Path, tmp_path: Path
) -> None:
    """Staging first, then production, back by one word; what does not hold is refused, and nothing changes by it."""
    project = copy_of(released[0], tmp_path / "project")
    client = s3.client()
    make_bucket(s3, "promoted")
    for each in client.list_objects_v2(Bucket="released")["Contents"]:
        content = client.get_object(Bucket="released", Key=each["Key"])["Body"].read()
        client.put_object(Bucket="promoted", Key=each["Key"], Body=content)
    project.edit("delivery.yaml", "s3://released/", "s3://promoted/")
    git(project.path, "commit", "--quiet", "--all", "--message", "A bucket of its own")
    keys = s3.environment()

    def make(*arguments: str, expect: int = 0) -> str:
        return project.run("make", *arguments, expect=expect, **keys)

    assert "has run nothing yet" in make("history", "ENV=production")
    assert "v1.0.0 has not been in staging" in make("promote", "ENV=production", "TAG=v1.0.0", expect=2)
    assert "v9.0.0 is not published" in make("promote", "ENV=staging", "TAG=v9.0.0", expect=2)
    assert "say ENV=production or ENV=staging" in make("promote", "ENV=prod", "TAG=v1.0.0", expect=2)
    assert "is no release" in make("promote", "ENV=staging", "TAG=latest", expect=2)
    assert "is a candidate, for staging alone" in make("promote", "ENV=production", "TAG=v1.1.0-rc.1", expect=2)
    assert git(project.path, "status", "--porcelain") == ""

    git(project.path, "tag", "--annotate", "v1.1.0", "--message", "Second")
    project.run("make", "release", "TAG=v1.1.0", SIGNING_KEY=str(signing_key), **keys)
    for tag in ("v1.0.0", "v1.1.0"):
        for environment in ("staging", "production"):
            make("promote", f"ENV={environment}", f"TAG={tag}")
    assert "production has v1.1.0 already" in make("promote", "ENV=production", "TAG=v1.1.0", expect=2)
    assert "v1.0.0 instead of v1.1.0" in make("rollback", "ENV=production")
    assert "there is no way back" in make("rollback", "ENV=production", expect=2)
    assert "has never run in production" in make("rollback", "ENV=production", "TAG=v1.2.0", expect=2)
    assert git(project.path, "log", "-5", "--format=%s").splitlines() == [
        "Roll production back to v1.0.0",
        "Promote v1.1.0 to production",
        "Promote v1.1.0 to staging",
        "Promote v1.0.0 to production",
        "Promote v1.0.0 to staging",
    ]
    listed = [line.split()[2] for line in make("history", "ENV=production").splitlines() if line.startswith("20")]
    assert listed == ["v1.0.0", "v1.1.0", "v1.0.0"]
    assert "RELEASE=v1.0.0\n" in (project.path / "environments" / "production" / "serving.env").read_text()
    assert git(project.path, "status", "--porcelain") == ""

    key = f"team/releases/v1.1.0/{BUNDLE}"
    content = client.get_object(Bucket="promoted", Key=key)["Body"].read()
    client.put_object(Bucket="promoted", Key=key, Body=content[:-1] + b"x")
    assert "mismatch" in make("promote", "ENV=production", "TAG=v1.1.0", expect=2).lower()
    assert git(project.path, "log", "-1", "--format=%s").strip() == "Roll production back to v1.0.0"


def test_dvc_knows_it(released: tuple[Project, str], s3: Gateway, tmp_path: Path) -> None:
    """DVC's own tools list the model and bring a version of it, from the remote alone."""
    project, _ = released
    assert "classifier" in project.run("gto", "show")
    git(tmp_path, "clone", "--quiet", "--bare", str(project.path), str(tmp_path / "forge.git"))
    target = tmp_path / "model.tflite"
    command = (
        "dvc",
        "artifacts",
        "get",
        str(tmp_path / "forge.git"),
        "classifier",
        "--rev",
        "v1.0.0",
        "-o",
        str(target),
    )
    project.run(*command, **s3.environment())
    assert target.read_bytes() == (project.path / "artifacts" / "model.tflite").read_bytes()


def test_a_host_needs_python_and_nothing_else(released: tuple[Project, str], tmp_path: Path) -> None:
    """On a bare Debian without a network the bundle installs and serves; it is small, and it is the signed release."""
    need(*CONTAINERS)
    podman = Podman(tmp_path)
    image = podman.base()
    (tmp_path / "host").mkdir()
    shutil.copytree(released[0].path / "dist" / "v1.0.0", tmp_path / "host" / "release")
    shutil.copy(released[0].path / "release.pem", tmp_path / "host")
    (tmp_path / "host" / "try.sh").write_text(TRY)
    output = podman.run(
        "run", "--rm", "--network=none", "--volume", f"{tmp_path / 'host'}:/host:ro", image, "sh", "/host/try.sh"
    )
    told = dict(
        line.split("=", 1) for line in output.splitlines() if line.startswith(("size=", "seconds=", "name=", "again="))
    )
    assert int(told["size"]) < 200_000_000
    assert float(told["seconds"]) < 60
    assert told["name"] == "v1.0.0"
    assert "is there already" in told["again"]


TRY = """
set -eu
mkdir /tmp/bundle && python3 -m tarfile --extract /host/release/bundle.tar /tmp/bundle
before=$(date +%s.%N)
python3 /tmp/bundle/v1.0.0/server/install.py /opt/server
echo "seconds=$(python3 -c "print($(date +%s.%N) - $before)")"
echo "size=$(du --summarize --bytes /opt/server | cut --fields=1)"
echo "again=$(python3 /tmp/bundle/v1.0.0/server/install.py /opt/server 2>&1 || true)"
SLIPWAY_MODEL=/host/release SLIPWAY_PUBLIC_KEY=/host/release.pem RELEASE=v1.0.0 \\
  /opt/server/bin/python -m serving > /dev/null &
python3 - << 'END'
import json, time, urllib.request
for _ in range(100):
    try:
        answer = json.load(urllib.request.urlopen("http://127.0.0.1:8080/v2/models/classifier"))
        break
    except OSError:
        time.sleep(0.1)
print(f"name={answer['versions'][0]}")
END
kill $!
"""
