"""Roles that every server has, on real ones: what gets in, how people log in, what is watched, where logs go."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, need
from tests.system.containers import wait_for
from tests.system.fleet import PROGRAMS, Fleet, Host, fleet

ANSIBLE = ROOT / "ansible"
RULES = """\
groups:
  - name: hosts
    rules: [{alert: HostDown, expr: up == 0}]
"""
ALERTS = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
OPEN, CLOSED = 8000, 8001


@dataclass
class Site:
    """A monitor and a server, and the playbook that gives both their roles."""

    fleet: Fleet
    folder: Path

    @property
    def monitor(self) -> Host:
        return self.fleet.hosts["monitor"]

    @property
    def server(self) -> Host:
        return self.fleet.hosts["server"]

    def play(self, *arguments: str, roles: str = "hardening monitoring", **variables: object) -> tuple[bool, str]:
        """Give hosts their roles; return whether that went well, and what Ansible says."""
        playbook = self.folder / "playbook.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "roles": roles.split()}]))
        monitor = self.monitor.address
        settings = {
            "hardening_allow": [
                {"port": 9100, "from": [monitor]},
                {"port": 19532, "from": [host.address for host in self.fleet.hosts.values()]},
                {"port": OPEN, "from": [monitor, "2001:db8::/32"]},
            ],
            "monitoring_monitor": "{{ inventory_hostname in groups.monitors }}",
            "monitoring_logs_url": f"http://{monitor}:19532",
            "monitoring_rules": str(self.folder / "rules"),
            "monitoring_alertmanager": ALERTS,
        }
        inventory = self.folder / "hosts.yml"
        groups = {"monitors": ["monitor"], "serving": ["server"], "balancers": ["server"]}
        inventory.write_text(self.fleet.inventory(groups, **settings | variables))
        places = {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles")}
        result = subprocess.run(
            ["ansible-playbook", "--inventory", inventory, playbook, *arguments],
            env=os.environ | places,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return result.returncode == 0, result.stdout


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Servers as Debian's installer leaves them."""
    need(*PROGRAMS, "ansible-playbook")
    folder = tmp_path_factory.mktemp("roles")
    (folder / "rules").mkdir()
    (folder / "rules" / "hosts.yml").write_text(RULES)
    with fleet(folder, "monitor", "server") as running:
        yield Site(running, folder)


@pytest.fixture(scope="module")
def checked(bare: Site) -> tuple[bool, str]:
    """What --check says of a bare server."""
    return bare.play("--check", "--diff", "--limit", "monitor")


@pytest.fixture(scope="module")
def site(bare: Site, checked: tuple[bool, str]) -> Site:
    """The servers with their roles."""
    for good, output in (checked, bare.play()):
        assert good, output
    return bare


def code(host: Host, address: str, port: int) -> str:
    """Return the status with which an address answers a host: 000 if it does not."""
    command = ("curl", "--silent", "--max-time", "2", "--output", "/dev/null", "--write-out", "%{http_code}")
    return host.run(*command, f"http://{address}:{port}", check=False)


def ask(site: Site, what: str) -> Any:
    """Return what Prometheus answers."""
    return json.loads(site.monitor.run("curl", "--silent", f"http://localhost:9090/api/v1/{what}"))["data"]


def ssh(site: Site, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    command += [
        "-o",
        "ConnectTimeout=5",
        "-i",
        str(site.fleet.key),
        *options,
        f"deploy@{site.server.address}",
        "id -un",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_check_tells_of_a_bare_host(checked: tuple[bool, str]) -> None:
    """--check says what would happen to a server that has nothing yet, and fails at none of it."""
    good, output = checked
    assert good, output
    assert "changed=0" not in output


def test_second_run_changes_nothing(site: Site) -> None:
    """What the first run made, the second leaves alone, and --check finds nothing to do."""
    for arguments, hosts in (((), 2), (("--check", "--limit", "monitor"), 1)):
        good, output = site.play(*arguments)
        assert good, output
        assert output.count("changed=0") == hosts, output


def test_only_what_is_allowed_gets_in(site: Site) -> None:
    """A port is open to those addresses that may use it; others that listen are closed to everybody else."""
    for port in (OPEN, CLOSED):
        site.fleet.podman.run("exec", "--detach", site.server.container, "python3", "-m", "http.server", str(port))
        wait_for(lambda port=port: code(site.server, "127.0.0.1", port) == "200", f"port {port}")
    assert code(site.monitor, site.server.address, OPEN) == "200"
    assert code(site.monitor, site.server.address, CLOSED) == "000"
    outside = ["curl", "--silent", "--max-time", "2", f"http://{site.server.address}:{OPEN}"]
    assert subprocess.run(outside, check=False, capture_output=True).returncode == 28  # it waits in vain
    assert ssh(site).stdout == "deploy\n"


def test_firewall_leaves_the_tables_of_others(site: Site) -> None:
    """Rules that something else has loaded outlive a reload, a restart and a stop of the firewall."""
    site.server.run("nft", "add", "table", "ip", "docker")
    for verb in ("reload", "restart", "stop"):
        site.server.run("systemctl", verb, "nftables")
        assert ("table inet slipway" in site.server.run("nft", "list", "tables")) == (verb != "stop")
        assert "table ip docker" in site.server.run("nft", "list", "tables")
    site.server.run("systemctl", "start", "nftables")


def test_nobody_logs_in_by_password(site: Site) -> None:
    """A right password is not even asked for, nor is root let in by a key."""
    site.server.run(
        "sh", "-c", "echo deploy:secret | chpasswd; cp -r /home/deploy/.ssh /root; chown -R root: /root/.ssh"
    )
    refused = ssh(site, "-o", "PubkeyAuthentication=no").stderr
    assert "Permission denied (publickey)." in refused
    assert "Permission denied (publickey)." in ssh(site, "-l", "root").stderr


def test_root_is_told_before_being_locked_out(site: Site) -> None:
    """Who connects as root hears that root could not come again, and nothing is done."""
    good, output = site.play("--limit", "server", roles="hardening", ansible_user="root", hardening_ssh_port=2222)
    assert not good
    assert "root" in output
    assert "changed=0" in output


def test_who_locks_all_out_gets_back_in(site: Site) -> None:
    """A firewall that lets no new connection in is taken back, and the one before holds again."""
    before = site.server.run("cat", "/etc/nftables.conf")
    only = (
        "--limit",
        "server",
        "--start-at-task",
        "Write down what gets in",
        "--extra-vars",
        "_hardening_undo_after=15",
    )
    good, output = site.play(*only, roles="hardening", hardening_ssh_from=["192.0.2.0/24"])
    assert not good
    assert "UNREACHABLE" in output
    wait_for(lambda: ssh(site).stdout == "deploy\n", "a way back in")
    assert site.server.run("cat", "/etc/nftables.conf") == before
    assert code(site.monitor, site.server.address, CLOSED) == "000"


def test_only_security_fixes_come_by_themselves(site: Site) -> None:
    """Debian's own list of origins is replaced, and no reboot is planned."""
    settings = site.server.run("apt-config", "dump")
    origins = [line for line in settings.splitlines() if line.startswith("Unattended-Upgrade::Origins-Pattern::")]
    assert len(origins) == 1
    assert "label=Debian-Security" in origins[0]
    assert 'Unattended-Upgrade::Automatic-Reboot "false"' in settings
    assert site.server.run("systemctl", "is-active", "apt-daily-upgrade.timer") == "active\n"


def test_journal_outlives_a_boot_within_limits(site: Site) -> None:
    """The journal is on the disk, and knows how large it may be."""
    assert "/var/log/journal/" in site.server.run("journalctl", "--header", "--lines=0")
    assert "max 1.0G" in site.server.run("journalctl", "--unit=systemd-journald", "--boot", "--grep=System Journal")


def test_monitor_watches_everything(site: Site) -> None:
    """Every host is asked for its metrics under its own name, as are servers and balancers; rules are there."""
    server, monitor = site.server.address, site.monitor.address

    def targets() -> dict[tuple[str, str, str], str]:
        return {
            (target["labels"]["job"], target["labels"].get("host", ""), target["scrapeUrl"]): target["health"]
            for target in ask(site, "targets?state=active")["activeTargets"]
        }

    assert set(targets()) == {
        ("alertmanager", "", "http://localhost:9093/metrics"),
        ("node", "monitor", f"http://{monitor}:9100/metrics"),
        ("node", "server", f"http://{server}:9100/metrics"),
        ("serving", "server", f"http://{server}:8082/metrics"),
        ("balancers", "server", f"http://{server}:8405/metrics"),
    }
    wait_for(lambda: [health for (job, *_), health in targets().items() if job == "node"] == ["up", "up"], "metrics")
    assert [group["name"] for group in ask(site, "rules")["groups"]] == ["hosts"]
    assert site.monitor.run("cat", "/etc/prometheus/alertmanager.yml") == ALERTS


def test_text_in_the_folder_becomes_metrics(site: Site) -> None:
    """What a program leaves for node exporter is read by it."""
    site.server.run("sh", "-c", "echo slipway_test 1 > /var/lib/prometheus/node-exporter/test.prom")
    assert "\nslipway_test 1\n" in site.server.run("curl", "--silent", "http://localhost:9100/metrics")


def test_logs_arrive_even_when_the_monitor_was_away(site: Site) -> None:
    """A line that a host writes while nobody takes it is at the monitor soon after somebody does."""
    receiver = ("systemd-journal-remote.socket", "systemd-journal-remote.service")

    def arrived(line: str) -> bool:
        command = ("journalctl", "--directory=/var/log/journal/remote", "--output=cat", "_HOSTNAME=server")
        return f"{line}\n" in site.monitor.run(*command, check=False)

    site.server.run("logger", "first of all")
    wait_for(lambda: arrived("first of all"), "a line of a log")
    site.monitor.run("systemctl", "stop", *receiver)
    site.server.run("logger", "said to nobody")
    wait_for(
        lambda: "auto-restart" in site.server.run("systemctl", "show", "-p", "SubState", "systemd-journal-upload"),
        "the end",
    )
    site.monitor.run("systemctl", "start", receiver[0])
    wait_for(lambda: arrived("said to nobody"), "a line that waited")


def test_what_is_broken_replaces_nothing(site: Site) -> None:
    """What its own program refuses never becomes the file that is used."""
    files = ("/etc/nftables.conf", "/etc/prometheus/prometheus.yml", "/etc/prometheus/alertmanager.yml")
    before = [site.monitor.run("cat", file) for file in files]
    for role, task, variables in (
        ("hardening", "Write down what gets in", {"hardening_allow": [{"port": 99999, "from": ["192.0.2.1"]}]}),
        ("monitoring", "Write down whom it watches", {"monitoring_balancers_port": "8405/metrics"}),
        ("monitoring", "Write down whom it alerts", {"monitoring_alertmanager": "receivers: []\n"}),
    ):
        good, output = site.play("--limit", "monitor", "--start-at-task", task, roles=role, **variables)
        assert not good
        assert "failed to validate" in output
    assert [site.monitor.run("cat", file) for file in files] == before


def test_rules_are_those_of_the_repository(site: Site) -> None:
    """A rule that Prometheus refuses does not come, one that is gone goes, and Prometheus has what is left."""
    folder = site.folder / "rules"
    only = ("--limit", "monitor", "--start-at-task", "Bring the rules")
    (folder / "hosts.yml").rename(folder / "renamed.yml")
    (folder / "wrong.yml").write_text(RULES.replace("up == 0", "up =="))
    good, output = site.play(*only, roles="monitoring")
    assert not good
    assert "failed to validate" in output
    (folder / "wrong.yml").unlink()
    good, output = site.play(*only, roles="monitoring")
    assert good, output
    assert site.monitor.run("ls", "/etc/prometheus/rules") == "renamed.yml\n"
    assert [group["file"] for group in ask(site, "rules")["groups"]] == ["/etc/prometheus/rules/renamed.yml"]
