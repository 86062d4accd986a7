"""A fleet of real servers behind a real balancer, under constant load: deploys, their failures, and the way back."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from model.release import BUNDLE
from tests.conftest import Project, need
from tests.system import variants
from tests.system.containers import wait_for
from tests.system.fleet import PROGRAMS, fleet
from tests.system.gateway import PROGRAMS as STORE
from tests.system.gateway import gateway
from tests.system.site import Site, load, make

SERVERS = ("s1", "s2", "s3")
BARE = ("s1", "lb")
FURNISHED = (
    "ca-certificates",
    "nftables",
    "openssl",
    "prometheus-node-exporter",
    "systemd-journal-remote",
    "unattended-upgrades",
)
"""What roles install on the other servers, which have it: to install it once more shows nothing and takes a minute."""
MAIN = "server/source/serving/__main__.py"
WORKER = "server/source/serving/worker.py"
IMAGES = "server/source/serving/protocols/images.py"
BAD = {
    "v2.0.1": (MAIN, "supervisor.run(settings)", "sys.exit('error: planted')"),
    "v2.0.2": (WORKER, "self.app.ready = True", "self.app.ready = False"),
    "v2.0.3": (IMAGES, "labels[position]", "labels[-1 - position]"),
    "v2.0.4": (IMAGES, "    order =", "    import time; time.sleep(0.1)\n    order ="),
    "v2.0.5": ("examples.json", '"probability": 0.', '"probability": 1.'),
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk for one host's releases."""
    # Not among pytest's folders, which the next run could not tidy up if this one were killed.
    folder, image = Path(tempfile.mkdtemp(prefix="slipway-disk-")), tmp_path_factory.mktemp("image") / "disk.img"
    subprocess.run(["truncate", "--size=1500M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


@pytest.fixture(scope="module")
def site(finished: Project, signing_key: Path, disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three servers and a balancer, made by site.yml, on v1.0.0; v1.1.0 is published, and bad ones.

    One server and the balancer are bare Debian before that.
    """
    need(*PROGRAMS, *STORE, "wrk", "openssl")
    folder = tmp_path_factory.mktemp("site")
    with fleet(tmp_path_factory.mktemp("fleet")) as machines:
        furnished = machines.with_packages(*FURNISHED)
        for name in (*SERVERS, "lb"):
            volume = ("--volume", f"{disk}:/opt/slipway") if name == "s3" else ()
            machines.add(name, *volume, image="" if name in BARE else furnished)
        machines.open()
        with gateway(tmp_path_factory.mktemp("store"), machines.gateway) as store:
            found = make(machines, store, finished, signing_key, folder)
            for tag, change in BAD.items():
                variants.publish(found.project, tag, change, **found.variables)
            with found.only(*BARE):
                found.play("site", "--check", "--diff")  # on bare machines, too
            found.play("site")
            yield found


@pytest.fixture
def on(site: Site) -> Callable[[str], None]:
    """Return a function that has the fleet begin on a release which it has had already."""

    def begin(release: str) -> None:
        site.want(release)
        if set(site.running().values()) != {release}:
            site.play("rollback")
        site.wait_for_rotation()

    return begin


def test_a_deploy_and_the_way_back_lose_nothing(site: Site) -> None:
    """From v1.0.0 to v1.1.0 and back under load: every request is answered, by a release that is named."""
    site.want("v1.1.0")
    with load(site) as found:
        output = site.play("deploy")
    print(f"deploy: {found.answers}")
    assert re.search(
        r"v1.1.0 serves on s1, s2, s3, switched: s1 \([\d.]+ s\), s2 \([\d.]+ s\), s3 \([\d.]+ s\)", output
    ), output
    assert (found.failed, found.releases) == (0, {"v1.0.0", "v1.1.0"})
    assert site.running() == dict.fromkeys(SERVERS, "v1.1.0")
    assert "v1.1.0" in site.play("status")
    site.want("v1.0.0")
    with load(site) as found:
        site.play("rollback")
    print(f"rollback: {found.answers}")
    assert (found.failed, found.releases) == (0, {"v1.0.0", "v1.1.0"})
    assert site.running() == dict.fromkeys(SERVERS, "v1.0.0")
    site.wait_for_rotation()


def test_a_rollback_takes_seconds(site: Site, on: Callable[[str], None]) -> None:
    """By the one command that also tells Git; under load, nothing is lost and nothing downloaded."""
    on("v1.1.0")
    with load(site) as found:
        started = time.monotonic()
        output = site.project.run("make", "rollback", "ENV=production", **site.variables)
        seconds = time.monotonic() - started
    print(f"make rollback: {seconds:.1f} s, {found.answers}")
    assert "production: v1.0.0 instead of v1.1.0" in output
    assert found.failed == 0
    assert site.running() == dict.fromkeys(SERVERS, "v1.0.0")


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("v2.0.1", "s1: v2.0.1-.* was refused: it ends as soon as it starts\n.*error: planted.*it is back on v1.0.0-"),
        ("v2.0.2", "s1: v2.0.2-.* was refused: it is not ready after 30 s.*it is back on v1.0.0-"),
        ("v2.0.3", "s1: v2.0.3-.* was refused: it answers wrongly.*it is back on v1.0.0-"),
        ("v2.0.4", "s1 as the canary: .* of its .* answers took longer than .* ms"),
        ("v2.0.5", "s1: .*the model does not answer as when it was evaluated: example 0"),
    ],
    ids=["crashes", "never ready", "answers wrongly", "is slow", "computes something else"],
)
def test_a_bad_release(site: Site, on: Callable[[str], None], release: str, said: str) -> None:
    """It reaches one host at most, which goes back by itself; no client notices, and the message says what it was."""
    on("v1.0.0")
    site.want(release)
    with load(site) as found:
        output = site.play("deploy", expect=2)
    print(f"{release}: {found.answers}, {found.errors} errors")
    assert re.search(f"(?s){release} is not deployed.*{said}", output), output
    assert site.running() == dict.fromkeys(SERVERS, "v1.0.0")
    site.wait_for_rotation()
    assert found.failed == 0


def test_a_release_that_was_tampered_with(site: Site, on: Callable[[str], None]) -> None:
    """It is refused on the machine that deploys, and no host has any of it."""
    on("v1.0.0")
    variants.publish(site.project, "v2.1.0", **site.variables)
    store, key = site.s3.client(), f"team/releases/v2.1.0/{BUNDLE}"
    content = store.get_object(Bucket="releases", Key=key)["Body"].read()
    store.put_object(Bucket="releases", Key=key, Body=content[:-1] + b"x")
    site.want("v2.1.0")
    output = site.play("deploy", expect=2)
    assert "the signature does not hold" in output
    assert all("v2.1.0" not in host.run("ls", "-a", "/opt/slipway/releases") for host in site.hosts)


@pytest.mark.parametrize("room", [350, 1])
def test_a_disk_that_is_full(site: Site, disk: Path, on: Callable[[str], None], room: int) -> None:
    """Seen before anything is brought, or met in the middle: all stay on what they had, and nothing is left behind."""
    on("v1.0.0")
    site.want(tag := f"v2.2.{room}")
    variants.publish(site.project, tag, **site.variables)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler = disk / "filler"
    subprocess.run(["fallocate", f"--length={free - 200_000_000}", filler], check=True)
    try:
        with load(site) as found:
            output = site.play("deploy", "--extra-vars", f'{{"serving_room": {room}}}', expect=2)
        assert re.search(r"s3: (\d+ MB are free for /opt/slipway|(?s:.*)No space left on device)", output), output
        assert found.failed == 0
        assert site.running() == dict.fromkeys(SERVERS, "v1.0.0")
        assert tag not in site.fleet.hosts["s3"].run("ls", "-a", "/opt/slipway/releases")
    finally:
        filler.unlink()


def wait_for_drain(site: Site, process: subprocess.Popen[str], name: str) -> None:
    """Wait until a deploy has taken a host out of rotation."""

    def drained() -> bool:
        assert process.poll() is None, process.communicate()[0]
        return site.rotation().get(name) == "MAINT"

    wait_for(drained, f"{name} to be drained", 300)


def test_a_host_that_cannot_be_reached(site: Site, on: Callable[[str], None]) -> None:
    """Nothing is deployed anywhere; the rest serves, and the host comes back into rotation by itself."""
    on("v1.0.0")
    site.want("v1.1.0")
    host = site.fleet.hosts["s2"]
    with load(site) as found:
        site.fleet.cut(host)
        try:
            output = site.play("deploy", expect=2)
        finally:
            site.fleet.mend(host)
    print(f"unreachable: {found.answers}, {found.errors} errors")
    assert "s2: it cannot be reached" in output
    assert site.running() == dict.fromkeys(SERVERS, "v1.0.0")
    assert found.failed <= 16  # what each connection had asked when it was cut off
    site.wait_for_rotation()


def test_a_host_that_dies_in_the_middle(site: Site, on: Callable[[str], None]) -> None:
    """The others go back; when it starts again it serves what they do, and is in rotation."""
    on("v1.0.0")
    site.want("v1.1.0")
    host = site.fleet.hosts["s2"]
    with load(site) as found:
        process = site.start("deploy")
        wait_for_drain(site, process, "s2")
        host.kill()
        output, _ = process.communicate(timeout=300)
    print(f"died: {found.answers}, {found.errors} errors")
    assert process.returncode == 2
    assert "s2: it went away in the middle" in output
    host.start()
    site.wait_for_rotation()
    assert site.running() == dict.fromkeys(SERVERS, "v1.0.0")
    assert "v1.0.0" in host.run(
        "curl", "--silent", "--header", site.authorization, "http://127.0.0.1:8080/v2/models/classifier"
    )
    assert found.failed == 0


def alone(project: Project) -> bool:
    """Whether no process of a deploy is left here."""
    with (project.path / ".deploying-production").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_deploy_that_dies_in_the_middle(site: Site, on: Callable[[str], None]) -> None:
    """What it left serves; another one from elsewhere is refused for a while, and run again here it completes."""
    on("v1.0.0")
    site.want("v1.1.0")
    with load(site) as found:
        process = site.start("deploy")
        wait_for_drain(site, process, "s2")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wait_for(lambda: alone(site.project), "what the host was doing to end")
        elsewhere = site.play("deploy", "--extra-vars", "slipway_owner=somebody-else", expect=2)
        site.play("deploy")
    print(f"deploy died: {found.answers}, {found.errors} errors")
    assert "is deploying here; if that ended without a word" in elsewhere
    assert site.running() == dict.fromkeys(SERVERS, "v1.1.0")
    assert (found.failed, found.releases) == (0, {"v1.0.0", "v1.1.0"})
    site.wait_for_rotation()


def test_a_reboot(site: Site, on: Callable[[str], None]) -> None:
    """A host is back in rotation on its release by itself, and clients have not noticed."""
    on("v1.1.0")
    with load(site) as found:
        site.fleet.hosts["s3"].reboot()
        site.wait_for_rotation()
        wait_for(lambda: site.rotation() == dict.fromkeys(SERVERS, "UP"), "s3")
    print(f"reboot: {found.answers}, {found.errors} errors")
    assert (found.failed, found.releases) == (0, {"v1.1.0"})


def test_a_host_leaves_and_comes_back(site: Site, on: Callable[[str], None]) -> None:
    """Retired, it gets no requests and serves no more; in the inventory again it does. Nobody else is disturbed."""
    on("v1.1.0")
    inventory = site.project.path / "ansible" / "inventories" / "production" / "hosts.yml"
    before = inventory.read_text()
    described = yaml.safe_load(before)
    groups = described["all"]["children"]
    groups["retired"] = {"hosts": {"s3": groups["serving"]["hosts"].pop("s3")}}
    host = site.fleet.hosts["s3"]
    with load(site) as found:
        inventory.write_text(yaml.safe_dump(described))
        site.play("scale")
        assert set(site.rotation()) == {"s1", "s2"}
        assert host.run("systemctl", "is-active", "slipway", check=False) == "inactive\n"
        inventory.write_text(before)
        site.play("scale")
        site.wait_for_rotation()
    print(f"scale: {found.answers}, {found.errors} errors")
    assert set(site.rotation()) == set(SERVERS)
    assert found.failed <= 16  # connections that a reload of the balancer closed before it sent an answer


def test_a_second_run_changes_nothing(site: Site, on: Callable[[str], None]) -> None:
    """Nor does a dry run, which says so."""
    on("v1.1.0")
    for options in ([], ["--check", "--diff"]):
        output = site.play("site", *options)
        assert re.findall(r"changed=(\d+)", output) == ["0"] * 4, output
