"""Labels that came later meet what was answered: each counts once, for the release that answered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.command import PipelineError
from pipelines.operations import feedback
from tests.conftest import ROOT

LISTENING = {"event.action": "listening", "log.level": "info"}


def answered(request: str, label: str, release: str = "v1.0.0") -> dict[str, Any]:
    return {"http.request.id": request, "labels.class": label, "labels.release": release, "url.path": "/predict"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


def write(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "access.log"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_each_release_has_its_own_accuracy(folder: Path) -> None:
    """With Wilson's interval; lines of other events, of other requests and of several pictures do not count."""
    lines = [answered(str(number), "7", "v1.0.0" if number < 60 else "v1.1.0") for number in range(100)]
    log = write(folder, LISTENING, *lines, answered("unlabelled", "7"), {"http.request.id": "100"})
    found = feedback.join({str(number): "7" if number % 6 else "1" for number in range(101)}, log, 0.95)
    assert {release: (share.examples, share.accuracy) for release, share in found.releases.items()} == {
        "v1.0.0": (60, 50 / 60),
        "v1.1.0": (40, 33 / 40),
    }
    assert (round(found.releases["v1.0.0"].low, 4), round(found.releases["v1.0.0"].high, 4)) == (0.7197, 0.9069)
    assert (found.unmatched, found.ambiguous) == (1, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab"), st.sampled_from(["v1", "v2"])), max_size=30))
def test_every_label_is_counted_once(folder: Path, seen: list[tuple[int, str, str]]) -> None:
    """Matched, of no request in the log, or of an id that was answered in several ways."""
    log = write(folder, *(answered(str(number), label, release) for number, label, release in seen))
    labels = dict.fromkeys(map(str, range(10)), "a")
    distinct = {number: {each[1:] for each in seen if each[0] == number} for number, _, _ in seen}
    if not any(len(each) == 1 for each in distinct.values()):
        with pytest.raises(PipelineError, match="has no answer to any of 10 labelled requests"):
            feedback.join(labels, log, 0.95)
        return
    found = feedback.join(labels, log, 0.95)
    assert sum(share.examples for share in found.releases.values()) + found.unmatched + found.ambiguous == 10
    assert all(share.low <= share.accuracy <= share.high for share in found.releases.values())


def test_labels_as_csv_and_parquet(folder: Path) -> None:
    """Labels and ids are text, whatever they look like."""
    (folder / "labels.csv").write_text("request_id,label,by\n007,3,me\n8,NA,me\n8,NA,you\n")
    assert feedback.read_labels(folder / "labels.csv") == {"007": "3", "8": "NA"}
    pq.write_table(pa.table({"label": [3], "request_id": ["007"]}), folder / "labels.parquet")
    assert feedback.read_labels(folder / "labels.parquet") == {"007": "3"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("request_id,label\n1,a\n1,b\n", "has 1 request ids with another label"),
        ("id,label\n1,a\n", "is no table with the columns request_id and label"),
        ("", "is no table with the columns request_id and label"),
    ],
)
def test_labels_that_cannot_be_used(folder: Path, text: str, said: str) -> None:
    """Two labels of one request, other columns, nothing."""
    (folder / "labels.csv").write_text(text)
    with pytest.raises(PipelineError, match=said):
        feedback.read_labels(folder / "labels.csv")


def test_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints a line for each release and writes the same as JSON, whatever other programs put into the log."""
    labels = folder / "labels.csv"
    labels.write_text("request_id,label\n1,7\n2,1\n")
    log = write(folder, answered("1", "7"), answered("2", "7"))
    log.write_text("INFO: no JSON\n" + log.read_text() + '{"http.request.id": "1", "lab')
    monkeypatch.setattr(feedback, "OUTPUT", folder / "feedback.json")
    monkeypatch.setattr(sys, "argv", ["feedback", str(labels), str(log)])
    feedback.main()
    assert "0.5000" in capsys.readouterr().out
    written = json.loads((folder / "feedback.json").read_text())["releases"]["v1.0.0"]
    assert (written["accuracy"], written["examples"]) == (0.5, 2)
    log.write_text("INFO: no JSON\n")
    with pytest.raises(PipelineError, match="is it the server's log"):
        feedback.main()


def test_make_hands_names_on_as_they_are(folder: Path) -> None:
    """A path with a blank or a quote is one path."""
    odd = folder / "it's a label.csv"
    odd.write_text("request_id,label\n1,7\n")
    command = ["make", "--silent", "feedback", f"LABELS={odd}", f"LOG={folder}/no such.log"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"No such file or directory: '{folder}/no such.log'" in result.stderr
