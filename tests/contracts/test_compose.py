"""monitoring/compose.yaml: what is watched beside `make serve`, in containers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from serving.config import Settings
from tests.conftest import ROOT, need

FILE = ROOT / "monitoring" / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())


def test_it_is_a_compose_file() -> None:
    """By the schema of the Compose Specification; what it mounts is there, and images have versions."""
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE]
    subprocess.run(command, check=True)
    for name, service in COMPOSE["services"].items():
        assert re.fullmatch(r"docker\.io/.+:v?\d+\.\d+\.\d+", service["image"]), name
        for source in (volume.partition(":")[0] for volume in service["volumes"]):
            assert source in COMPOSE["volumes"] or (FILE.parent / source).is_dir()


def test_configurations(tmp_path: Path) -> None:
    """Prometheus and Alertmanager take theirs, and the first asks where `make serve` shows its numbers."""
    need("promtool", "amtool")
    for name, check in (("prometheus", ("promtool", "check", "config")), ("alertmanager", ("amtool", "check-config"))):
        (tmp_path / name).write_text(COMPOSE["configs"][name]["content"].replace("/etc/prometheus/rules", "rules"))
        subprocess.run([*check, tmp_path / name], check=True, cwd=ROOT / "monitoring")
    (job,) = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{Settings().host}:{Settings().metrics_port}"]
