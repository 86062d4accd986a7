"""A device that nobody can reach: it fetches what Git says, proves it, and goes back by itself."""

from __future__ import annotations

import base64
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from model import sample
from tests.conftest import Project, git, need
from tests.system import variants
from tests.system.containers import wait_for
from tests.system.fleet import PROGRAMS, Host, fleet
from tests.system.gateway import PROGRAMS as STORE
from tests.system.gateway import gateway
from tests.system.site import Site, make

CRASH = ("server/source/serving/__main__.py", "supervisor.run(settings)", "sys.exit('error: planted')")


@dataclass
class Device:
    site: Site
    host: Host
    git: str
    """Address of the repository, as the device knows it."""

    def want(self, release: str) -> None:
        self.site.want(release)
        git(self.site.project.path, "push", "--quiet", "--force", "origin", "HEAD:main")

    def pull(self) -> bool:
        """Do what the timer does, and may be doing at the moment; whether all went well."""
        busy = ("systemctl", "is-active", "slipway-pull.service")
        wait_for(lambda: self.host.run(*busy, check=False) != "activating\n", "the timer's own run", 180)
        return self.host.run("sh", "-c", "systemctl start slipway-pull && echo fine", check=False).endswith("fine\n")

    def log(self) -> str:
        return self.host.run("journalctl", "--unit=slipway-pull", "--output=cat", "--no-pager")

    def serves(self) -> str:
        answer = self.host.run("curl", "--silent", "http://127.0.0.1:8080/v2/models/classifier", check=False)
        return "".join(re.findall(r'"versions":\["(.*?)"', answer))


@contextmanager
def daemon(folder: Path, address: str) -> Iterator[str]:
    """Serve the repositories of a folder, and give their address."""
    command = ["git", "daemon", "--export-all", f"--base-path={folder}", f"--listen={address}", folder]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"git://{address}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def device(finished: Project, signing_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A bare Debian on which the commands of docs/servers.md ran once, with v1.0.0; others are published."""
    need(*PROGRAMS, *STORE, "git")
    folder = tmp_path_factory.mktemp("devices")
    with fleet(tmp_path_factory.mktemp("fleet")) as machines:
        machines.add("device-1", "--memory=1g")
        machines.open()
        with gateway(tmp_path_factory.mktemp("store"), machines.gateway) as store:
            site = make(machines, store, finished, signing_key, folder)
            variants.publish(site.project, "v2.0.1", CRASH, **site.variables)
            git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "digits.git")
            git(site.project.path, "remote", "add", "origin", str(folder / "digits.git"))
            with daemon(folder, machines.gateway) as address:
                found = Device(site, machines.hosts["device-1"], f"{address}/digits.git")
                inventory = site.project.path / "ansible" / "inventories" / "production" / "hosts.yml"
                edge = {"pull_repository": found.git, "serving_host": "127.0.0.1", "serving_again": False}
                inventory.write_text(machines.inventory({"edge": ["device-1"], "serving": []}, **edge))
                found.want("v1.0.0")
                commission(found)
                yield found


def commission(device: Device) -> None:
    """Do on the device what docs/servers.md says."""
    page = (device.site.project.path / "docs" / "servers.md").read_text()
    install, pull = re.findall(r"^(apt-get install .*|ansible-pull .*)$", page, re.MULTILINE)
    keys = "\n".join(f"{name}={value}" for name, value in device.site.s3.environment().items() if name != "NO_PROXY")
    device.host.run("sh", "-c", f"echo '{keys}' > /etc/slipway-pull.env && chmod 600 /etc/slipway-pull.env")
    device.host.run("sh", "-c", f"apt-get update --quiet && {install} --yes --quiet --no-install-recommends")
    pull = pull.replace("https://git.example.com/team/digits.git", device.git)
    device.host.run("sh", "-c", f"set -a && . /etc/slipway-pull.env && cd /root && {pull}")


def test_it_follows_git(device: Device) -> None:
    """It serves what Git says, on loopback alone, and its timer goes on looking."""
    assert device.serves() == "v1.0.0"
    assert device.host.run("systemctl", "is-enabled", "slipway-pull.timer") == "enabled\n"
    assert "127.0.0.1:8080" in device.host.run("ss", "--listening", "--tcp", "--numeric")
    assert "0.0.0.0:8080" not in device.host.run("ss", "--listening", "--tcp", "--numeric")
    device.want("v1.1.0")
    assert device.pull(), device.log()
    assert device.serves() == "v1.1.0"


def test_it_may_do_little(device: Device) -> None:
    """As systemd judges it, at most what docs/servers.md says."""
    said = re.findall(r"says (\d\.\d)\.", (device.site.project.path / "docs" / "servers.md").read_text())
    output = device.host.run("systemd-analyze", "security", "--no-pager", "slipway")
    (score,) = re.findall(r"Overall exposure level for slipway.service: (\d+\.\d)", output)
    assert [score] == said, output


def test_it_keeps_pictures_where_it_may(device: Device) -> None:
    """In the folder of docs/retraining.md, for nobody else to read; they open with the key and show what was asked."""
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    settings = device.site.project.path / "environments" / "production" / "serving.env"
    before = settings.read_text()
    (folder,) = re.findall(
        r"^SLIPWAY_SAMPLES=(.*)$",
        (device.site.project.path / "docs" / "retraining.md").read_text(),
        re.MULTILINE,
    )
    chosen = {"": folder, "_KEY": base64.b64encode(public).decode(), "_PERCENT": "100"}
    settings.write_text(before + "".join(f"SLIPWAY_SAMPLES{name}={value}\n" for name, value in chosen.items()))
    try:
        device.want("v1.1.0")
        assert device.pull(), device.log()
    finally:
        settings.write_text(before)
    picture = (device.site.folder / "picture.png").read_bytes()
    ask = f"echo {base64.b64encode(picture).decode()} | base64 --decode | curl --silent --fail --data-binary @-"
    headers = f"--header 'x-request-id: asked' --header '{device.site.authorization}'"
    device.host.run("sh", "-c", f"{ask} {headers} http://127.0.0.1:8080/v1/predict")

    def found() -> set[str]:
        files = device.host.run("find", folder, "-name", "*.sealed").split()
        contents = [device.host.run("base64", "--wrap=0", file) for file in files]
        return {sample.unseal(base64.b64decode(content), key).request_id for content in contents}

    wait_for(lambda: "asked" in found(), "a picture")
    assert device.host.run("stat", "--format=%U %a", folder) == "slipway 700\n"


def test_it_goes_back_by_itself(device: Device) -> None:
    """A release that does not serve is refused, once: the next look leaves alone what serves."""
    device.want("v1.1.0")
    assert device.pull(), device.log()
    device.want("v2.0.1")
    assert not device.pull()
    assert "v2.0.1" in device.log()
    assert device.serves() == "v1.1.0"
    started = device.host.run("systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "slipway")
    assert not device.pull()
    assert "is not tried again" in device.log()
    assert device.host.run("systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "slipway") == started
    device.want("v1.1.0")
    assert device.pull(), device.log()


def test_without_a_network(device: Device) -> None:
    """It goes on serving, also after a reboot; back in the world it looks again."""
    device.want("v1.1.0")
    assert device.pull(), device.log()
    device.site.fleet.cut(device.host)
    try:
        assert not device.pull()
        device.host.reboot()
        wait_for(lambda: device.serves() == "v1.1.0", "the device to serve again")
    finally:
        device.site.fleet.mend(device.host)
    time.sleep(1)
    assert device.pull(), device.log()
