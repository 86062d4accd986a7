"""A fleet of real servers: containers that systemd runs in, reached by SSH as the machines of a data centre are.

Each has what Debian 12 has after its installation, and a user `deploy` who may become root.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.system.containers import INSTALL, Podman, wait_for
from tests.system.containers import PROGRAMS as CONTAINERS

PROGRAMS = (*CONTAINERS, "/usr/lib/podman/netavark", "iptables", "nft", "ssh", "ssh-keygen")
# Of these, curl is for tests alone, which ask hosts by it.
PACKAGES = (
    "curl",
    "dbus",
    "iproute2",
    "libpam-systemd",
    "openssh-server",
    "procps",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
)
# Where controllers are mounted one by one, systemd sees those of the machine and does not enforce MemoryMax; on
# machines with one hierarchy there is nothing to do.
INIT = """\
#!/bin/sh
if [ -d /sys/fs/cgroup/memory ]; then
  for name in memory pids cpu cpuacct; do
    umount /sys/fs/cgroup/$name
    mount -t cgroup -o $name cgroup /sys/fs/cgroup/$name
  done
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
fi
exec /sbin/init
"""
# What is masked waits for devices and seats, which containers have not.
CONTAINERFILE = """\
FROM {base}
COPY init /usr/local/sbin/init
RUN chmod 755 /usr/local/sbin/init && useradd --create-home --shell /bin/bash deploy \\
 && echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy && rm -f /etc/ssh/ssh_host_* /etc/machine-id \\
 && mkdir -p /etc/systemd/system/ssh.service.d \\
 && echo '[Service]' > /etc/systemd/system/ssh.service.d/keys.conf \\
 && echo 'ExecStartPre=' >> /etc/systemd/system/ssh.service.d/keys.conf \\
 && echo 'ExecStartPre=/usr/bin/ssh-keygen -A' >> /etc/systemd/system/ssh.service.d/keys.conf \\
 && touch /etc/machine-id && touch --date=@0 /var/lib/apt/lists \\
 && systemctl mask systemd-logind.service systemd-udevd.service unattended-upgrades.service
# Containers are gone after the tests: nothing needs to reach the disk.
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/unsafe-io
STOPSIGNAL SIGRTMIN+3
CMD ["/usr/local/sbin/init"]
"""
SSH = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=5")
RIGHTS = ("--cap-add=SYS_ADMIN,NET_ADMIN,SYS_PTRACE,AUDIT_WRITE", "--security-opt=seccomp=unconfined")


@dataclass
class Host:
    """One server. `name` is what the inventory calls it."""

    name: str
    address: str
    mac: str
    """The same after every start, or neighbours would send to the old one for a while."""
    container: str
    podman: Podman

    def run(self, *command: str, check: bool = True) -> str:
        return self.podman.run("exec", self.container, *command, check=check)

    def kill(self) -> None:
        """Take its power away."""
        self.podman.run("kill", "--signal=KILL", self.container)

    def start(self) -> None:
        self.podman.run("start", self.container)

    def reboot(self) -> None:
        self.podman.run("restart", "--time=30", self.container)


@dataclass
class Fleet:
    """Hosts in a network of their own, and the key that opens them."""

    podman: Podman
    folder: Path
    network: str
    subnet: ipaddress.IPv4Network
    image: str
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        return self.folder / "id"

    @property
    def gateway(self) -> str:
        """The address of this machine, as hosts see it."""
        return str(self.subnet[1])

    def add(self, name: str, *options: str, image: str = "") -> Host:
        address = str(self.subnet[10 + len(self.hosts)])
        mac = "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))
        container = f"{self.network}-{name}"
        self.podman.run(
            *("run", "--detach", "--name", container, "--hostname", name, "--network", self.network, "--ip", address),
            *("--mac-address", mac),
            *("--systemd=always", "--cgroupns=private", "--memory=512m", *RIGHTS, *options, image or self.image),
        )
        host = self.hosts[name] = Host(name, address, mac, container, self.podman)
        return host

    def with_packages(self, *packages: str) -> str:
        """Return the name of an image of a host that has some packages already."""
        return self.podman.build("furnished", INSTALL.format(base=self.image, packages=" ".join(packages)))

    def open(self) -> None:
        """Wait until all hosts answer, and let the key in."""
        for host in self.hosts.values():
            wait_for(lambda host=host: host.run("systemctl", "is-active", "ssh", check=False) == "active\n", host.name)
            key = self.key.with_suffix(".pub").read_text().strip()
            script = (
                f"install -d -o deploy -m 700 /home/deploy/.ssh && echo '{key}' > /home/deploy/.ssh/authorized_keys"
            )
            host.run("sh", "-c", script)

    def cut(self, host: Host) -> None:
        """Let nothing reach a host, nor it anything."""
        self.podman.run("network", "disconnect", self.network, host.container)

    def mend(self, host: Host) -> None:
        self.podman.run(
            "network", "connect", "--ip", host.address, "--mac-address", host.mac, self.network, host.container
        )

    def inventory(self, groups: dict[str, list[str]], **variables: object) -> str:
        """Return an inventory of some of the hosts, by group."""
        access = {
            "ansible_user": "deploy",
            "ansible_become": True,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": " ".join(f"-o {each}" for each in SSH),
        }
        children = {
            group: {"hosts": {name: {"ansible_host": self.hosts[name].address} for name in names}}
            for group, names in groups.items()
        }
        return yaml.safe_dump({"all": {"vars": access | variables, "children": children}})


@contextmanager
def fleet(folder: Path, *names: str) -> Iterator[Fleet]:
    """Run hosts, ready for SSH. They and their network end with the block."""
    podman = Podman(folder)
    (folder / "init").write_text(INIT)
    image = podman.build("fleet", CONTAINERFILE.format(base=podman.debian("server", *PACKAGES)), folder)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "id"], check=True)
    network = f"slipway-{folder.name[-20:].strip('-')}-{id(folder):x}"
    podman.run("network", "create", network)
    (described,) = json.loads(podman.run("network", "inspect", network))
    running = Fleet(podman, folder, network, ipaddress.IPv4Network(described["subnets"][0]["subnet"]), image)
    try:
        for name in names:
            running.add(name)
        running.open()
        yield running
    finally:
        for host in running.hosts.values():
            podman.run("rm", "--force", "--volumes", "--time=0", host.container, check=False)
        podman.run("network", "rm", "--force", network, check=False)
