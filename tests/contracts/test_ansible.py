"""ansible/: roles say what they take, inventories are examples, and names that others use are theirs."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from model import examples
from model.release import BUNDLE, PROVENANCE, SIGNATURE
from pipelines.delivery import environments, settings
from pipelines.delivery.servers import PLAYBOOKS
from tests.ansible.plugins import load
from tests.conftest import ROOT

ANSIBLE = ROOT / "ansible"
ROLES = sorted(path for path in (ANSIBLE / "roles").iterdir() if path.is_dir())
PHASES = ("preflight", "install", "activate", "prune")
EXAMPLES = [ipaddress.ip_network(each) for each in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]  # RFC 5737


def read(path: Path) -> object:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_options_are_described(role: Path) -> None:
    """Every default has a type and a meaning, the two agree, and names begin with the role's."""
    (specification,) = read(role / "meta" / "argument_specs.yml")["argument_specs"].values()  # type: ignore[index]
    options = specification["options"]
    assert {name: option["default"] for name, option in options.items()} == read(role / "defaults" / "main.yml")
    assert all(option["description"] and name.startswith(f"{role.name}_") for name, option in options.items())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_roles_have_phases(role: Path) -> None:
    """In one order, each with its tag; what is for nobody else begins with an underscore."""
    tasks = read(role / "tasks" / "main.yml")
    names = [task["tags"] for task in tasks]  # type: ignore[attr-defined]
    assert [[phase] for phase in PHASES if [phase] in names] == names
    variables = role / "vars" / "main.yml"
    if variables.exists():
        assert all(name.startswith(f"_{role.name}_") for name in read(variables))  # type: ignore[attr-defined]


def test_inventories_are_examples() -> None:
    """One for each environment; nobody's machines are in them."""
    found = {path.parent.name: path.read_text() for path in ANSIBLE.glob("inventories/*/hosts.yml")}
    assert set(found) == {path.parent.name for path in (ROOT / "environments").glob(f"*/{environments.FILE}")}
    for text in found.values():
        addresses = re.findall(r"ansible_host: ([^\s}]+)", text)
        assert addresses
        assert all(any(ipaddress.ip_address(each) in network for network in EXAMPLES) for each in addresses)
    assert settings.load(ROOT / "delivery.yaml").servers == []


def test_names_are_those_of_the_release() -> None:
    """Roles know files of a release by the names that it has."""
    variables = (ANSIBLE / "roles" / "serving" / "vars" / "main.yml").read_text()
    assert set(re.findall(r"_serving_files: \[(.*)\]", variables)[0].split(", ")) == {BUNDLE, PROVENANCE, SIGNATURE}
    assert load("library/release_signature").SIGNATURE == SIGNATURE
    assert examples.NAME in (ANSIBLE / "roles" / "serving" / "tasks" / "release.yml").read_text()


def test_playbooks_are_there() -> None:
    """Each that the command offers; the others are parts of these or for devices."""
    assert {path.stem for path in ANSIBLE.glob("*.yml")} == {*PLAYBOOKS, "base", "pull"}


def test_ports_are_the_same_for_all() -> None:
    """What a host listens on is what balancers ask."""
    serving, haproxy = (read(ANSIBLE / "roles" / name / "defaults" / "main.yml") for name in ("serving", "haproxy"))
    assert (serving["serving_port"], serving["serving_grpc_port"]) == (  # type: ignore[index]
        haproxy["haproxy_http_port"],  # type: ignore[index]
        haproxy["haproxy_grpc_port"],  # type: ignore[index]
    )


def test_monitors_get_the_rules_of_the_repository() -> None:
    """What the inventories' hosts are given is monitoring/, byte for byte, templates of Alertmanager among it."""
    names = ("monitoring_rules", "monitoring_alertmanager")
    message = "msg={{ dict(" + ", ".join(f"{name}={name}" for name in names) + ") | to_json }}"
    inventory = ANSIBLE / "inventories" / environments.PRODUCTION
    command = ["ansible", "production-monitor", "-i", inventory, "-m", "debug", "-a", message]
    said = subprocess.check_output(
        # With the variables that playbooks see, which lie beside them.
        [*command, "--playbook-dir", ANSIBLE, "-e", f"playbook_dir={ANSIBLE}"],
        cwd=ANSIBLE,
        env=os.environ | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        text=True,
    )
    found = json.loads(json.loads(said.partition("=> ")[2])["msg"])
    assert Path(found["monitoring_rules"]).resolve() == ROOT / "monitoring" / "rules"
    assert found["monitoring_alertmanager"] == (ROOT / "monitoring" / "alertmanager.yml").read_text().rstrip("\n")


def test_ansible_lint() -> None:
    """Playbooks and roles pass its production profile."""
    subprocess.run(["ansible-lint", "-q"], cwd=ANSIBLE, check=True)
