"""A fleet that serves behind a balancer, with the project that deploys to it, and constant load on it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from model.release import BUNDLE
from tests.conftest import Project, git
from tests.system import variants
from tests.system.conftest import copy_of, with_releases
from tests.system.containers import wait_for
from tests.system.fleet import Fleet, Host
from tests.system.gateway import Gateway
from tests.system.load import Load
from tests.system.load import load as asking

RELEASE = """
from pathlib import Path
from pipelines.delivery import release, settings, store
chosen = settings.load()
release.build("v1.0.0", chosen, Path("dist", "v1.0.0"))
store.publish(store.releases(chosen), "v1.0.0", Path("dist", "v1.0.0"), chosen)
"""


@dataclass
class Site:
    """The fleet, the project that deploys to it, and what its commands need."""

    fleet: Fleet
    project: Project
    s3: Gateway
    folder: Path
    variables: dict[str, str]

    @property
    def hosts(self) -> list[Host]:
        return [host for name, host in self.fleet.hosts.items() if name != "lb"]

    @property
    def balancer(self) -> Host:
        return self.fleet.hosts["lb"]

    @property
    def authorization(self) -> str:
        return f"Authorization: Bearer {self.variables['SERVING_KEY']}"

    def want(self, release: str) -> None:
        """Let Git say that production runs a release."""
        file = self.project.path / "environments" / "production" / "serving.env"
        file.write_text(re.sub("RELEASE=.*", f"RELEASE={release}", file.read_text()))
        git(self.project.path, "commit", "--quiet", "--all", "--allow-empty", "--message", f"Run {release}")

    def play(self, playbook: str, *options: str, expect: int = 0) -> str:
        command = ("python", "-m", "pipelines.delivery.servers", playbook, "production", "--", *options)
        return self.project.run(*command, expect=expect, **self.variables)

    @contextmanager
    def only(self, *names: str) -> Iterator[None]:
        """Have no other hosts in the inventory as long as the block runs."""
        inventory = self.project.path / "ansible" / "inventories" / "production" / "hosts.yml"
        before = inventory.read_text()
        described = yaml.safe_load(before)
        for group in described["all"]["children"].values():
            group["hosts"] = {name: host for name, host in group["hosts"].items() if name in names}
        inventory.write_text(yaml.safe_dump(described))
        try:
            yield
        finally:
            inventory.write_text(before)

    def start(self, playbook: str) -> subprocess.Popen[str]:
        command = ("python", "-m", "pipelines.delivery.servers", playbook, "production")
        return self.project.start(*command, **self.variables)

    def running(self) -> dict[str, str]:
        """Return the release that each host itself would start."""
        links = {host.name: host.run("readlink", "/opt/slipway/current").strip() for host in self.hosts}
        return {name: Path(link).name.rpartition("-")[0] for name, link in links.items()}

    def rotation(self) -> dict[str, str]:
        """Return the balancer's word for each host."""
        metrics = self.balancer.run("curl", "--silent", "http://127.0.0.1:8405/metrics?scope=server")
        found = re.findall(r'haproxy_server_status\{proxy="serving",server="(\w+)",state="(\w+)"\} 1', metrics)
        return dict(found)

    def wait_for_rotation(self) -> None:
        wait_for(lambda: set(self.rotation().values()) == {"UP"}, "all hosts to be in rotation")


@contextmanager
def load(site: Site) -> Iterator[Load]:
    """Ask the balancer for predictions as long as the block runs."""
    address = f"https://{site.balancer.address}/v1/predict"
    with asking(address, site.folder / "picture.png", site.folder, site.variables["SERVING_KEY"]) as found:
        yield found


def make(machines: Fleet, store: Gateway, finished: Project, signing_key: Path, folder: Path) -> Site:
    """Return hosts s1, s2 ... and the balancer lb, still bare, and a project that would have them serve v1.0.0."""
    project = copy_of(finished, folder / "project")
    with_releases(project, store, "releases", signing_key)
    keys = {**store.environment(), "SIGNING_KEY": str(signing_key)}
    git(project.path, "tag", "--annotate", "v1.0.0", "--message", "First")
    project.run("python", "-c", RELEASE, PYTHONPATH=str(project.path), **keys)
    variants.publish(project, "v1.1.0", **keys)
    with tarfile.open(project.path / "dist" / "v1.0.0" / BUNDLE) as bundle:
        (example, *_) = json.load(bundle.extractfile("v1.0.0/examples.json") or pytest.fail("no examples"))
    (folder / "picture.png").write_bytes(base64.b64decode(example["png"]))
    secret = project.run("python", "-m", "serving.keys", "keys.json", "issue", "--name", "test", "--scope", "predict")
    variables = keys | {
        "SERVING_KEY": secret.split()[-1],
        "SLIPWAY_API_KEYS": (project.path / "keys.json").read_text(),
    }
    if "lb" in machines.hosts:
        variables["HAPROXY_CERTIFICATE"] = certificate(folder, machines.hosts["lb"].address)
    groups = {
        "serving": [name for name in machines.hosts if name != "lb"],
        "balancers": [name for name in machines.hosts if name == "lb"],
        "retired": [],
        "edge": [],
    }
    # All of these hosts share the cores of this machine with other tests.
    chosen = {
        "serving_bake": 6,
        "serving_margin": 0.1,
        "serving_patience": 30,
        "serving_room": 350,
        "haproxy_rate_limit": 100_000,
    }
    inventory = project.path / "ansible" / "inventories" / "production" / "hosts.yml"
    inventory.write_text(machines.inventory(groups, **chosen))
    project.edit("delivery.yaml", "servers: []", "servers: [production]")
    project.edit("environments/production/serving.env", "SLIPWAY_WORKERS=2", "SLIPWAY_WORKERS=1")
    found = Site(machines, project, store, folder, variables)
    found.want("v1.0.0")
    return found


def certificate(folder: Path, address: str) -> str:
    """Return a certificate for an address, with its key."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=fleet"
    files = ["-addext", f"subjectAltName=IP:{address}", "-keyout", folder / "key.pem", "-out", folder / "chain.pem"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return (folder / "chain.pem").read_text() + (folder / "key.pem").read_text()
