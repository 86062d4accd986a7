"""How often the gate is right, over a thousand reviews drawn from networks that were really trained."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import gate
from benchmarks.gate import Answers, Scenario, draw, table
from pipelines.review import outcomes
from pipelines.review.verdict import Verdict
from pipelines.training.dataset import BEHAVIOUR, PREDICTIONS, Dataset
from tests.conftest import ROOT
from tests.pipelines.review.models import SETTINGS, replace

PAGE = ROOT / gate.PAGE
LABELS = [str(digit) for digit in range(10)]
METRICS = replace(SETTINGS.gate.metrics, macro_f1=None, log_loss=None, calibration_error=None)
SHARES = replace(SETTINGS, gate=replace(SETTINGS.gate, metrics=METRICS))
"""Without the bootstrap, whose own test is elsewhere: a thousand draws then take seconds."""


@pytest.fixture(scope="module")
def networks(before: Path, twin: Path, beginner: Path) -> tuple[list[Answers], list[Answers]]:
    strong, weak = [before, twin], [beginner]
    return tuple([read(folder) for folder in folders] for folders in (strong, weak))


def read(folder: Path) -> Answers:
    return Answers(outcomes.read(folder / PREDICTIONS, LABELS, LABELS), pq.read_table(folder / BEHAVIOUR))


def verdicts(networks: tuple[list[Answers], list[Answers]], drop: float, size: int, draws: int) -> dict[Verdict, float]:
    drawn = [draw(*networks, SHARES, Scenario(drop, size), number)[0] for number in range(draws)]
    return {verdict: drawn.count(verdict) / draws for verdict in Verdict}


def test_a_change_without_effect_seldom_fails(networks: tuple[list[Answers], list[Answers]]) -> None:
    """Of a thousand candidates that differ from the incumbent by seed alone, at most one in twenty fails."""
    found = verdicts(networks, drop=0, size=448, draws=1000)
    assert found[Verdict.FAIL] <= 1 - SHARES.gate.confidence


def test_a_real_loss_is_seldom_missed(networks: tuple[list[Answers], list[Answers]]) -> None:
    """A loss of two points more than the margin passes in fewer than one review of twenty, at any size of test set."""
    drop = METRICS.accuracy.margin + 0.02
    assert verdicts(networks, drop, size=448, draws=300)[Verdict.PASS] < 0.05
    assert verdicts(networks, drop, size=2000, draws=300)[Verdict.FAIL] > 0.95


def test_the_command_replaces_the_table_of_the_page(
    networks: tuple[list[Answers], list[Answers]], before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes between the marks of docs/gate.md and leaves the rest; --dry leaves all of it."""
    page = tmp_path / "gate.md"
    shutil.copy(PAGE, page)
    monkeypatch.setattr(gate, "PAGE", page)
    monkeypatch.setattr(gate, "SIZES", (1,))
    monkeypatch.setattr(gate, "DROPS", (0.0,))
    monkeypatch.setattr(gate, "populations", lambda *_: networks)
    monkeypatch.setattr(gate, "Dataset", lambda: Dataset(before / "dataset"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["gate", "--draws", "4", "--dry"])
    gate.main()
    assert page.read_text() == PAGE.read_text()
    monkeypatch.setattr("sys.argv", ["gate", "--draws", "4"])
    gate.main()
    assert "4 draws a row." in page.read_text()
    marks = re.compile("<!-- simulation -->.*<!-- end -->", re.DOTALL)
    assert marks.sub("", page.read_text()) == marks.sub("", PAGE.read_text())


def test_the_table_has_a_row_for_each_scenario() -> None:
    """Shares are written as percent, no loss as none."""
    shares = {verdict.value: 0.25 for verdict in Verdict} | {"naive": 0.5}
    lines = list(table({Scenario(0, 448): shares, Scenario(0.02, 1792): shares}, 2000))
    assert lines[2] == "| 448 | none | 25.0% | 25.0% | 25.0% | 50.0% |"
    assert lines[3].startswith("| 1,792 | 2% |")
