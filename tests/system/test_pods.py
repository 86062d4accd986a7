"""What a cluster does to pods, done to containers: replaced under load, killed for memory, cut off.

There is no cluster here. HAProxy stands for the Service and its readiness probes, without the retries that balancers of
servers have; podman for the kubelet.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import encode, need, picture
from tests.system.conftest import Image
from tests.system.containers import HARDENED, PROGRAMS, Podman, wait_for
from tests.system.load import load

LOST = 16 + 150
"""Requests under way at most, and those of the second that a Service takes to notice: nobody asks elsewhere here."""
SERVICE = """\
global
  stats socket /tmp/admin level admin
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  retries 0
  option http-server-close
frontend service
  bind :8080
  default_backend pods
backend pods
  option httpchk GET /v2/health/ready
  default-server check inter 500 fall 2 rise 1
{servers}
frontend admin
  bind :8405
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""


@dataclass
class Cluster:
    """Pods in a network of their own, behind a service."""

    podman: Podman
    network: str
    addresses: dict[str, str]
    image: str
    pods: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def start(self, name: str, *options: str) -> None:
        """Start a pod at its address."""
        self.podman.run(
            *("run", "--detach", "--name", f"{self.network}-{name}", "--network", self.network),
            *("--ip", self.addresses[name]),
            *(*HARDENED, "--env=SLIPWAY_AUTH=false", "--env=SLIPWAY_DRAIN=3", *options, self.image),
        )
        self.pods[name] = f"{self.network}-{name}"

    def stop(self, name: str) -> int:
        """End a pod as the kubelet does, and return its exit code."""
        container = self.pods.pop(name)
        self.podman.run("stop", "--time=40", container)
        code = int(self.podman.run("wait", container))
        self.podman.run("rm", container)
        return code

    def ask(self, name: str, path: str) -> str:
        """Return the status that a pod itself answers with."""
        command = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{self.addresses[name]}:8080{path}")
        return self.podman.run("exec", f"{self.network}-service", *command, check=False)

    def up(self) -> set[str]:
        """Return the pods that the service sends requests to."""
        text = self.podman.run("exec", f"{self.network}-service", "curl", "-s", "127.0.0.1:8405/metrics?scope=server")
        return {
            line.split('server="')[1].split('"')[0]
            for line in text.splitlines()
            if line.startswith("haproxy_server_status{") and 'state="UP"' in line and line.endswith(" 1")
        }


@pytest.fixture(scope="module")
def cluster(image: Image, podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three pods behind a service that knows three more places, which are empty."""
    need(*PROGRAMS, "/usr/lib/podman/netavark", "wrk")
    folder = tmp_path_factory.mktemp("cluster")
    network = f"slipway-pods-{id(folder):x}"
    haproxy = podman.debian("haproxy", "curl", "haproxy")
    podman.run("network", "create", network)
    (described,) = json.loads(podman.run("network", "inspect", network))
    subnet = ipaddress.ip_network(described["subnets"][0]["subnet"])
    names = ["pod-1", "pod-2", "pod-3", "pod-4", "pod-5", "pod-6"]
    made = Cluster(podman, network, {name: str(subnet[number]) for number, name in enumerate(names, 11)}, image.name)
    lines = "\n".join(f"  server {name} {address}:8080" for name, address in made.addresses.items())
    (folder / "haproxy.cfg").write_text(SERVICE.format(servers=lines))
    try:
        for name in names[:3]:
            made.start(name)
        podman.run(
            *("run", "--detach", "--name", f"{network}-service", "--network", network, "--publish=127.0.0.1::8080"),
            *("--volume", f"{folder}/haproxy.cfg:/haproxy.cfg:ro", haproxy, "haproxy", "-W", "-f", "/haproxy.cfg"),
        )
        made.url = f"http://{podman.run('port', f'{network}-service', '8080').strip()}/v1/predict"
        wait_for(lambda: made.up() == set(names[:3]), "three pods")
        yield made
    finally:
        for container in (*made.pods.values(), f"{network}-service"):
            podman.run("rm", "--force", "--time=0", container, check=False)
        podman.run("network", "rm", "--force", network, check=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    file.write_bytes(encode(picture(size=(8, 8), mode="L")))
    return file


def test_a_rollout(cluster: Cluster, small: Path, tmp_path: Path) -> None:
    """One more, then one fewer, three times: as maxSurge 1 and maxUnavailable 0 have it; no request fails."""
    with load(cluster.url, small, tmp_path) as found:
        for old, new in zip(sorted(cluster.pods), ("pod-4", "pod-5", "pod-6"), strict=True):
            cluster.start(new)
            wait_for(lambda new=new: new in cluster.up(), new)
            assert cluster.stop(old) == 0
    print(f"rollout: {found.answers}")
    assert found.failed == 0
    assert cluster.up() == {"pod-4", "pod-5", "pod-6"}


def test_not_ready_before_it_ends(cluster: Cluster, podman: Podman) -> None:
    """SIGTERM takes readiness away while the pod goes on answering, so that nothing is sent to one that is gone."""
    name, container = next(iter(cluster.pods.items()))
    podman.run("kill", "--signal=TERM", container)
    wait_for(lambda: name not in cluster.up(), "no requests")
    answer = cluster.ask(name, "/v2/health/live")
    assert answer == "200"
    podman.run("wait", container)
    podman.run("container", "cleanup", container)  # or a network that is about to be taken away would be kept
    podman.run("start", container)
    wait_for(lambda: len(cluster.up()) == 3, "all pods")


def test_too_much_memory(cluster: Cluster, small: Path, tmp_path: Path) -> None:
    """Pictures too large for 128 MB: the kernel ends the worker, the others answer meanwhile, and it comes back."""
    name = next(iter(cluster.pods))
    large = encode(picture(size=(100, 100)).resize((4990, 4990)))
    (tmp_path / "large.png").write_bytes(large)
    cluster.podman.run("cp", tmp_path / "large.png", f"{cluster.network}-service:/tmp/large.png")
    with load(cluster.url, small, tmp_path) as found:
        script = " & ".join(
            [f"curl -s -o /dev/null --data-binary @/tmp/large.png http://{cluster.addresses[name]}:8080/v1/predict"] * 6
        )
        cluster.podman.run("exec", f"{cluster.network}-service", "sh", "-c", f"{script} & wait")
        wait_for(lambda: len(cluster.up()) == 3, "all pods")
    print(f"out of memory: {found.answers}, {found.errors} errors")
    log = cluster.podman.run("logs", cluster.pods[name])
    assert "worker-ended" in log
    assert found.failed <= LOST


def test_cut_off(cluster: Cluster, small: Path, tmp_path: Path) -> None:
    """A pod that the network loses gets no more requests within two checks, and some again when it is back."""
    name, container = next(iter(cluster.pods.items()))
    with load(cluster.url, small, tmp_path) as found:
        cluster.podman.run("network", "disconnect", cluster.network, container)
        wait_for(lambda: name not in cluster.up(), "no requests")
        cluster.podman.run("network", "connect", "--ip", cluster.addresses[name], cluster.network, container)
        wait_for(lambda: len(cluster.up()) == 3, "all pods")
    print(f"cut off: {found.answers}, {found.errors} errors")
    assert found.failed <= LOST
