"""The Makefile: few targets in each section, each in the help, each short."""

from __future__ import annotations

import re
import subprocess

from tests.conftest import ROOT

TEXT = (ROOT / "Makefile").read_text()
PHONY = [set(names.split()) for names in re.findall(r"^\.PHONY: (.*)$", TEXT, re.MULTILINE)]


def test_every_target_is_in_the_help() -> None:
    """`make help` lists all of them with what they do, in sections that the eye takes in."""
    sections = subprocess.check_output(["make", "help"], cwd=ROOT, text=True).split("\n\n")
    listed = [set(re.findall(r"^  make (\S+) +\S", section, re.MULTILINE)) for section in sections]
    assert [names for names in listed if names] == PHONY
    assert all(len(names) <= 8 for names in PHONY)


def test_bodies_are_short() -> None:
    """A target is three lines at most: logic lives in Python, where it is tested."""
    for rule in re.split(r"\n\n", TEXT):
        assert len([line for line in rule.splitlines() if line.startswith("\t")]) <= 3, rule
