"""pipelines.logs: a command leaves one line where it is told to, and is none the worse when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import logs
from tests.conftest import ROOT

HEAD = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()


def line_of(folder: Path, *command: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Return what a command did, and its line."""
    file = folder / "pipeline.log"
    own = os.environ | {"PYTHONPATH": str(ROOT), logs.VARIABLE: str(file)} | variables
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    (line,) = [json.loads(text) for text in file.read_text().splitlines()]
    assert set(line) <= set(logs.NAMES)
    return done, line


def test_a_failure_says_what_was_asked_by_whom_and_why(tmp_path: Path) -> None:
    """Module, environment, release, who, commit, data, exit code and error, in one line."""
    command = ("-m", "pipelines.delivery.promote", "nowhere", "v1.2.3")
    done, line = line_of(tmp_path, *command, GITLAB_USER_LOGIN="anna")
    assert done.returncode == 1
    assert (line["event.action"], line["event.outcome"]) == ("delivery.promote", "failure")
    assert (line["log.level"], line["process.exit_code"], line["user.name"]) == ("error", 1, "anna")
    assert (line["labels.environment"], line["labels.release"]) == ("nowhere", "v1.2.3")
    assert line["labels.commit"] == HEAD
    assert line["labels.data_md5"] in (ROOT / "data.dvc").read_text()
    assert done.stderr.strip() == f"error: {line['error.message']}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('why')", 1),
        ("raise ValueError", 1),
        ("raise KeyboardInterrupt", 130),
    ],
)
def test_every_way_to_end_is_told(tmp_path: Path, body: str, code: int) -> None:
    """The line has the exit code that the shell sees, after a defect too."""
    program = tmp_path / "work.py"
    program.write_text(f"import sys\nfrom pipelines.command import run\ndef main():\n    {body}\nrun(main)\n")
    done, line = line_of(tmp_path, str(program))
    assert (done.returncode, line["process.exit_code"]) == (code, code)
    assert line["event.outcome"] == ("failure" if code else "success")
    assert line["event.duration"] >= 0


def test_a_log_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    """The command does its work and warns."""
    program = "from pipelines.command import run; run(lambda: print('done'))"
    own = os.environ | {"PYTHONPATH": str(ROOT), logs.VARIABLE: str(tmp_path / "none" / "log")}
    own.pop("GITHUB_ACTIONS", None)
    said = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, env=own, text=True)
    assert said.startswith("done\nwarning: PIPELINE_LOG is not written")
