"""monitoring/: rules ask for what the code counts, each alert was seen to fire and to be silent, runbooks are true."""

from __future__ import annotations

import math
import re
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.operations import rules
from serving import config
from serving.metrics import DURATION
from serving.observation import PREDICTING
from serving.protocols import routes
from tests.conftest import ROOT, need
from tests.contracts.series import FILES, RULES, asked, known

FOLDER = ROOT / "monitoring"
EXAMPLE = "https://git.example.com/ml/digits/-/blob/main/monitoring/runbooks"
"""Where the tests of rules expect runbooks."""
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
RUNBOOKS = sorted((FOLDER / "runbooks").glob("*.md"))
ALERTS = [rule for rule in RULES if "alert" in rule]
COMMANDS = {
    *("amtool", "apt-get", "curl", "df", "du", "free", "git", "haproxy", "journalctl", "kubectl", "make", "openssl"),
    *("ping", "ps", "python", "systemctl", "top"),
}


def fenced(text: str, kind: str) -> list[str]:
    return list(
        chain.from_iterable(block.splitlines() for block in re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL))
    )


def commands(text: str) -> list[str]:
    """Return each command of a runbook, in a block or within a line."""
    within = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return fenced(text, "sh") + [each for each in within if " " in each and each.split()[0] in COMMANDS]


def test_rules_are_written_from_their_sources() -> None:
    """`make rules` would change nothing, and no file is left of what it no longer writes."""
    assert {file.name: file.read_text() for file in FILES} == rules.render(rules.load())


def test_every_metric_is_declared() -> None:
    """What a rule asks for is what a server, a backup, an exporter or another rule says."""
    for rule in RULES:
        names = asked(rule["expr"])
        assert names, rule
        assert names <= known(), rule["expr"]


def test_requests_are_those_of_the_server() -> None:
    """Endpoints have the server's names, and the promise of latency is one of the bounds that it counts by."""
    objectives = rules.load()
    predicting = {route.name for route in routes() if route.scope == "predict" and route.method == "POST"} - {
        "admin.index"
    }
    asked_for = objectives.requests.endpoints.split("|")
    assert set(asked_for) == predicting | {"grpc.ModelInfer"}
    assert {name for names, _ in PREDICTING for name in names} == set(asked_for)
    assert objectives.objectives.latency.seconds in DURATION.buckets
    bounds = {float(found) for rule in RULES for found in re.findall(r'le="([\d.]+)"', rule["expr"])}
    assert bounds == {objectives.objectives.latency.seconds}


def test_jobs_are_those_of_servers_and_clusters() -> None:
    """Prometheus names what it asks as Ansible says, and in a cluster after the Service."""
    jobs = rules.load().jobs
    ansible = yaml.safe_load((ROOT / "ansible" / "roles" / "monitoring" / "vars" / "main.yml").read_text())
    service = yaml.safe_load((ROOT / "k8s" / "components" / "monitoring" / "service.yaml").read_text())
    assert {*jobs.serving.split("|"), jobs.balancers} == {
        *(ansible["_monitoring_jobs"].keys() - {"node"}),
        service["metadata"]["name"],
    }


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """How urgent it is, how much it is of what, and where that is explained."""
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert re.search(r"\$value|\.Value", rule["annotations"]["summary"])
    assert rule["annotations"]["runbook_url"] == f"{rules.load().runbooks}/{rule['alert']}.md"
    assert FOLDER / "runbooks" / f"{rule['alert']}.md" in RUNBOOKS


def test_every_runbook_has_an_alert() -> None:
    """Nobody keeps pages that nothing leads to."""
    assert {path.stem for path in RUNBOOKS} == {rule["alert"] for rule in ALERTS}


def test_every_alert_was_seen_to_fire_and_to_be_silent() -> None:
    """Each severity of each alert has a test of rules that expects it, and one that expects that nothing fires."""
    cases = [
        case for file in TESTS for test in yaml.safe_load(file.read_text())["tests"] for case in test["alert_rule_test"]
    ]
    fired = {(case["alertname"], each["exp_labels"]["severity"]) for case in cases for each in case["exp_alerts"]}
    assert fired == {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_hold(file: Path, tmp_path: Path) -> None:
    """Prometheus itself agrees with each test of rules, wherever a team keeps its runbooks."""
    need("promtool")
    for part in ("rules", "tests"):
        (tmp_path / part).mkdir()
    for path in FILES:
        (tmp_path / "rules" / path.name).write_text(path.read_text())
    (tmp_path / "tests" / file.name).write_text(file.read_text().replace(EXAMPLE, rules.load().runbooks))
    promtool("check", "rules", *map(str, FILES))
    promtool("test", "rules", str(tmp_path / "tests" / file.name))


def promtool(*arguments: str) -> None:
    result = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
class TestRunbook:
    def test_has_its_parts(self, path: Path) -> None:
        """One name, four headings, short, and links that lead somewhere."""
        text = path.read_text()
        assert re.findall(r"^# (.*)", text, re.MULTILINE) == [path.stem]
        assert re.findall(r"^## (.*)", text, re.MULTILINE) == HEADINGS
        assert len(text.splitlines()) <= 45
        assert all(path.with_name(name).exists() for name in re.findall(r"\]\((.*?)\)", text))

    def test_commands_exist(self, path: Path) -> None:
        """Targets, modules, units and objects are this project's."""
        targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for command in commands(path.read_text()):
            assert command.split()[0] in COMMANDS, command
            if found := re.match(r"make ([a-z0-9-]+)", command):
                assert found[1] in targets, command
            if found := re.match(r"python -m ([\w.]+)", command):
                assert module(found[1]), command
            if found := re.match(r"journalctl .*?(?:--unit|-t) ([\w-]+)|systemctl \w+ ([\w-]+)", command):
                assert (found[1] or found[2]) in units(), command
            if command.startswith("kubectl "):
                check_kubectl(command)

    def test_queries_exist(self, path: Path, tmp_path: Path) -> None:
        """What is asked of Prometheus is there to be asked, and it understands the question."""
        need("promtool")
        queries = fenced(path.read_text(), "promql")
        assert all(asked(query) <= known() for query in queries), queries
        recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
        file = tmp_path / "queries.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
        promtool("check", "rules", str(file))

    def test_settings_and_files_exist(self, path: Path) -> None:
        """Variables are ones that the server or a role knows, keys ones of the objectives, files there."""
        text = path.read_text()
        server = {config.variable(field) for field in config.Settings.__struct_fields__}
        assert set(re.findall(r"SLIPWAY_[A-Z_]+", text)) <= server
        options = set()
        for defaults in (ROOT / "ansible" / "roles").glob("*/defaults/main.yml"):
            options |= yaml.safe_load(defaults.read_text()).keys()
        assert set(re.findall(r"`((?:serving|haproxy|monitoring)_[a-z_]+)`", text)) <= options
        for section, key in re.findall(r"`(days|drift)\.(\w+)`", text):
            assert hasattr(getattr(rules.load(), section), key)
        for name in re.findall(r"`((?:k8s|monitoring|environments)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), name


def module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def units() -> set[str]:
    """Return the services that roles set up."""
    roles = ROOT / "ansible" / "roles"
    serving = yaml.safe_load((roles / "serving" / "vars" / "main.yml").read_text())
    monitoring = yaml.safe_load((roles / "monitoring" / "vars" / "main.yml").read_text())
    return {
        serving["_serving_unit"],
        "haproxy",
        *monitoring["_monitoring_services"],
        *monitoring["_monitoring_services_of_monitors"],
    }


def check_kubectl(command: str) -> None:
    objects: dict[str, set[str]] = {}
    for file in (ROOT / "k8s").rglob("*.yaml"):
        for found in yaml.safe_load_all(file.read_text()):
            if "metadata" in found:
                objects.setdefault(found["kind"].lower(), set()).add(found["metadata"]["name"])
    overlays = [yaml.safe_load(path.read_text()) for path in (ROOT / "k8s" / "overlays").glob("*/kustomization.yaml")]
    namespace = re.search(r"--namespace (\S+)", command)
    assert namespace, command
    assert namespace[1] in {overlay["namespace"] for overlay in overlays}
    objects["hpa"] = objects["horizontalpodautoscaler"]
    for kind, name in re.findall(r"\b(deployment|canary|hpa)[/ ]([\w-]+)", command):
        assert name in objects[kind], command


def test_alertmanager_takes_its_configuration() -> None:
    """As it is; and secrets are files, so that Git never holds one."""
    need("amtool")
    path = FOLDER / "alertmanager.yml"
    subprocess.run(["amtool", "check-config", path], check=True, capture_output=True)
    secret = re.compile(r"(password|key|token|secret|credentials|api_url)(?!_file)$")
    for receiver in yaml.safe_load(path.read_text())["receivers"]:
        assert not [key for key in keys(receiver) if secret.search(key)]


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | set().union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_somebody_is_told(rule: dict[str, Any]) -> None:
    """A page wakes somebody, a ticket waits, and what asks for training does both: a machine and a person hear."""
    need("amtool")
    labels = [f"{name}={value}" for name, value in ({"alertname": rule["alert"]} | rule["labels"]).items()]
    told = subprocess.check_output(
        ["amtool", "config", "routes", "test", f"--config.file={FOLDER / 'alertmanager.yml'}", *labels],
        text=True,
        stderr=subprocess.DEVNULL,
    )
    expected = ["retraining"] if rule["labels"].get("action") == "retrain" else []
    assert told.strip().split(",") == [*expected, f"{rule['labels']['severity']}s"]


def test_budgets_burn_as_the_workbook_says() -> None:
    """A page comes when 2 % of 30 days' budget are gone in an hour or 5 % in six, a ticket at 10 %."""
    seconds = {"m": 60, "h": 3600, "d": 86400}
    spent = []
    for each in rules.load().burn:
        long, short = (int(text[:-1]) * seconds[text[-1]] for text in (each.long, each.short))
        spent.append(each.rate * long / (30 * 86400))
        assert math.isclose(long / short, 12)
    assert spent == pytest.approx([0.02, 0.05, 0.1, 0.1])
