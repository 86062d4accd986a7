"""What node exporter is told of the pipeline's commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines import logs
from pipelines.command import PipelineError
from pipelines.operations import history
from tests.conftest import ROOT


def line(command: str, seconds: float = 1, outcome: str = "success", **more: str) -> str:
    """A command's line, with what nobody counts among it."""
    known = {"@timestamp": "2026-03-01T10:00:00.250Z", "log.level": "info", "event.dataset": "slipway.pipeline"}
    counted = {"event.action": command, "event.outcome": outcome, "event.duration": int(seconds * 1e9)}
    return json.dumps(known | counted | more) + "\n"


def told(path: Path) -> dict[tuple[str, ...], float]:
    """Values by metric and labels."""
    samples = [sample for family in text_string_to_metric_families(path.read_text()) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_runs_verdicts_and_times(tmp_path: Path) -> None:
    """Each command's runs by outcome, zeros among them; the newest success; each verdict."""
    log = tmp_path / "pipeline.log"
    log.write_text(
        line("training.train", 60)
        + line("training.train", 90)
        + line("training.train", 3, "failure")
        + line("review", 8, **{"labels.verdict": "pass"})
        + line("review", 9, "failure", **{"labels.verdict": "fail"})
    )
    history.write(tmp_path / "pipeline.prom", history.read(log)[0])
    found = told(tmp_path / "pipeline.prom")
    assert found[history.RUNS, "training.train", "success"] == 2
    assert found[history.RUNS, "training.train", "failure"] == 1
    assert found[history.DURATION, "training.train"] == 90
    assert found[history.TIME, "training.train"] == 1772359200.25
    assert {name[1]: value for name, value in found.items() if name[0] == history.VERDICTS} == {
        "pass": 1,
        "fail": 1,
        "inconclusive": 0,
        "no-incumbent": 0,
    }


def test_a_command_s_own_line_is_read(tmp_path: Path) -> None:
    """What a real one leaves where PIPELINE_LOG says."""
    log = tmp_path / "pipeline.log"
    command = [sys.executable, "-m", "pipelines.delivery.promote", "nowhere", "v1.2.3"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {logs.VARIABLE: str(log)}, capture_output=True, check=False)
    ((line,), _) = history.read(log)
    assert (line.command, line.outcome) == ("delivery.promote", history.FAILURE)
    assert 0 < line.duration < 60e9


def test_a_line_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its file and its number, and the others count all the same: a full disk has left half a line, once."""
    log, metrics = tmp_path / "pipeline.log", tmp_path / "pipeline.prom"
    log.write_text(line("review")[:40] + "\n" + line("review"))
    monkeypatch.setattr(sys, "argv", ["history", str(log), "--metrics", str(metrics)])
    with pytest.raises(PipelineError, match=r"pipeline.log: left out 1 .*: line 1: .*truncated"):
        history.main()
    assert told(metrics)[history.RUNS, "review", "success"] == 1
    with pytest.raises(PipelineError, match="PIPELINE_LOG="):
        history.read(tmp_path / "nothing.log")
