"""A constant load of predictions, and what became of each."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Load:
    """What a load generator has counted."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By status and release."""
    errors: int = 0
    """Of connections."""

    @property
    def sent(self) -> int:
        return self.answers.total() + self.errors

    @property
    def failed(self) -> int:
        return self.errors + sum(count for (status, _), count in self.answers.items() if status != "200")

    @property
    def releases(self) -> set[str]:
        return {release for status, release in self.answers if status == "200"}


@contextmanager
def load(address: str, picture: Path, folder: Path, key: str = "") -> Iterator[Load]:
    """Ask for predictions of a picture, 150 a second over 16 connections, as long as the block runs."""
    script = Path(__file__).with_name("load.lua")
    command = ["wrk", "-t1", "-c16", "-d900s", "--timeout=30s", "-s", script, address]
    variables = {"PICTURE": str(picture), "PAUSE": "100", "KEY": key}
    with (folder / "load.log").open("w+") as log:
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
        found = Load()
        try:
            yield found
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            log.seek(0)
            text = log.read()
    for status, release, count in re.findall(r"^(\d{3}) (\S+) (\d+)$", text, re.MULTILINE):
        found.answers[status, release] += int(count)
    found.errors = sum(int(count) for count in re.findall(r"^\w+ errors (\d+)$", text, re.MULTILINE))
    assert found.answers, text
