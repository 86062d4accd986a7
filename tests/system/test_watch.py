"""make watch: the whole of it runs on one machine, and nothing is left of it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import requests

from tests.conftest import Project, need, wait_for
from tests.system.conftest import copy_of


def test_what_it_shows(finished: Project, tmp_path: Path) -> None:
    """Each page that it names answers, `make drift` finds every feature unmoved, and Ctrl-C ends all of it."""
    need("prometheus", "prometheus-alertmanager")
    project = copy_of(finished, tmp_path / "project")
    log = tmp_path / "watch.log"
    with log.open("wb") as output:
        command = [sys.executable, "-u", "-m", "pipelines.operations.watch", "--rate", "100"]
        process = subprocess.Popen(command, cwd=project.path, stdout=output, stderr=output)
    try:
        wait_for(lambda: "Ctrl-C" in log.read_text() or process.poll() is not None, "the pages")
        pages = re.findall(r"^[a-z ]+: +(http\S+)$", log.read_text(), re.MULTILINE)
        assert len(pages) == 6, log.read_text()
        for page in pages:
            assert requests.get(page, timeout=10).ok, page
        (prometheus,) = re.findall(r"PROMETHEUS=(http\S+)", log.read_text())
        answered: list[str] = []

        def counted() -> bool:
            drift = [sys.executable, "-m", "pipelines.operations.drift", "--prometheus", prometheus]
            result = subprocess.run(drift, cwd=project.path, capture_output=True, text=True, check=False)
            answered.append(result.stdout + result.stderr)
            return result.returncode == 0 and "under 100" not in result.stdout

        wait_for(counted, "enough pictures")
        words = set(re.findall(r"\w+", answered[-1]))
        assert {"answer", "brightness", "confidence", "direction"} <= words, answered[-1]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
    assert re.search(r"[\d,]+ answers: \{'200': \d+\}", log.read_text())
    for page in pages:
        try:
            requests.get(page, timeout=1)
        except requests.ConnectionError:
            continue
        raise AssertionError(f"{page} still answers")
