"""Prometheus and Alertmanager as processes of this machine, on free ports of loopback, for as long as a block runs."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
import yaml
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipelines.command import PipelineError

PATIENCE = 30
"""Seconds that a program may take to stop."""


@contextmanager
def prometheus(
    folder: Path, jobs: Mapping[str, Sequence[str]], rules: Path, alertmanager: str = "", every: str = "5s"
) -> Iterator[str]:
    """Run a Prometheus that asks some addresses by job, and give its own address. Raises PipelineError."""
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(rules.resolve() / "*.yml")],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": list(targets)}]} for name, targets in jobs.items()
        ],
    }
    if alertmanager:
        config["alerting"] = {
            "alertmanagers": [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]
        }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]
    with _running(folder, ["prometheus"], arguments) as address:
        yield address


@contextmanager
def alertmanager(folder: Path, config: str) -> Iterator[str]:
    """Run an Alertmanager of a configuration, and give its address. Raises PipelineError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yml").write_text(config)
    arguments = [
        "--config.file=alertmanager.yml",
        "--storage.path=data",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with _running(folder, ["prometheus-alertmanager", "alertmanager"], arguments) as address:
        yield address


@contextmanager
def _running(folder: Path, names: Sequence[str], arguments: Sequence[str]) -> Iterator[str]:
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        raise PipelineError(f"{names[-1]} is not installed: Debian has it as {names[0]}")
    port = free_port()
    log = folder / f"{names[-1]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 (a program of the system)
            [program, *arguments, f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stdout=output, stderr=output
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait(f"{address}/-/ready", log)
        yield address
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a program to end, and make it."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait(address: str, log: Path) -> None:
    """Return when a page answers. Raises PipelineError with the end of the program's log."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(8, backoff_factor=0.1, status_forcelist=[503])))
    try:
        session.get(address, timeout=10).raise_for_status()
    except requests.RequestException:
        raise PipelineError(f"{log.stem} did not start: {log.read_text().strip()[-1000:]}") from None


def free_port() -> int:
    """Return a port of loopback that nothing listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
