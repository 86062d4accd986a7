"""Lines of several processes stay whole."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT

WRITER = """
import sys
from serving.logs import write
for number in range(200):
    write(b"".join(b'{"writer": "%b", "number": %d}\\n' % (sys.argv[1].encode() * 50, number) for _ in range(60)))
"""


def test_lines_of_several_processes_do_not_mix() -> None:
    """Four write large pieces into one pipe at once: every line is whole, and none is missing."""
    commands = [[sys.executable, "-c", WRITER, name] for name in "abcd"]
    script = " & ".join(f'{command[0]} -c "$WRITER" {command[3]}' for command in commands) + " & wait"
    output = subprocess.check_output(["sh", "-c", script], cwd=ROOT, env={"WRITER": WRITER, "PYTHONPATH": str(ROOT)})
    lines = [json.loads(line) for line in output.split(b"\n")[:-1]]
    assert len(lines) == 4 * 200 * 60
    assert {line["writer"] for line in lines} == {name * 50 for name in "abcd"}
