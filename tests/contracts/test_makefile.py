"""The Makefile: at most twenty targets, each in the help, each short."""

from __future__ import annotations

import re
import subprocess

from tests.conftest import ROOT

TEXT = (ROOT / "Makefile").read_text()
PHONY = set(re.findall(r"^\.PHONY: (.*)$", TEXT, re.MULTILINE)[0].split())


def test_every_target_is_in_the_help() -> None:
    """`make help` lists all of them with what they do."""
    listed = subprocess.check_output(["make", "help"], cwd=ROOT, text=True)
    assert set(re.findall(r"^  make (\S+) +\S", listed, re.MULTILINE)) == PHONY
    assert len(PHONY) <= 20


def test_bodies_are_short() -> None:
    """A target is three lines at most: logic lives in Python, where it is tested."""
    for rule in re.split(r"\n\n", TEXT):
        assert len([line for line in rule.splitlines() if line.startswith("\t")]) <= 3, rule
