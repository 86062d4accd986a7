"""The names of releases: `v1.2.3`, and `v1.2.3-rc.1` for what goes no further than staging.

Semantic Versioning 2.0.0 (https://semver.org), without build metadata and with `rc.N` as the only pre-release.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from pipelines.command import PipelineError

NUMBER = r"(0|[1-9][0-9]*)"
GRAMMAR = re.compile(rf"v{NUMBER}\.{NUMBER}\.{NUMBER}(?:-rc\.{NUMBER})?", re.ASCII)


class Version(NamedTuple):
    """Compares as versions do: a candidate comes before its release."""

    major: int
    minor: int
    patch: int
    candidate: float = math.inf

    @property
    def is_final(self) -> bool:
        return self.candidate == math.inf

    def __str__(self) -> str:
        ending = "" if self.is_final else f"-rc.{self.candidate:.0f}"
        return f"v{self.major}.{self.minor}.{self.patch}{ending}"


def is_release(name: str) -> bool:
    return GRAMMAR.fullmatch(name) is not None


def parse(name: str) -> Version:
    """Raise PipelineError for what is no name of a release."""
    found = GRAMMAR.fullmatch(name)
    if found is None:
        raise PipelineError(f"{name!r} is no release: name it like v1.2.3, or v1.2.3-rc.1 for a candidate")
    major, minor, patch, candidate = found.groups()
    return Version(int(major), int(minor), int(patch), math.inf if candidate is None else int(candidate))
