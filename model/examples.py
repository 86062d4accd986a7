"""Pictures with the answers that evaluation had; they travel with a release, and its servers must answer the same."""

from __future__ import annotations

from pathlib import Path

import msgspec

from model import ModelError

NAME = "examples.json"
TOLERANCE = 5 / 256
"""Another kind of processor rounds differently: a probability may be off by some steps of an int8 answer."""


class Example(msgspec.Struct, frozen=True):
    """A PNG, what was answered for it, and with which probability."""

    label: str
    probability: float
    png: bytes

    def differs(self, label: str, probability: float) -> str | None:
        """Return what is wrong with an answer, None when it is the known one."""
        if label == self.label and abs(probability - self.probability) <= TOLERANCE:
            return None
        return f"{label!r} with {probability:.3f}, expected {self.label!r} with {self.probability:.3f}"


def load(path: Path) -> list[Example]:
    """Raise ModelError when the file is malformed, OSError when it is not there."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Example])
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: {error}") from error
