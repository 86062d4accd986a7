"""What is to be served; light, because the supervisor knows it too."""

from __future__ import annotations

import msgspec

from serving.config import Settings


class Target(msgspec.Struct, frozen=True):
    """What to serve: paths of releases and the canary's share of requests."""

    stable: str
    canary: str = ""
    percent: float = 0
    shadow: bool = False
    expected: str = ""
    """Name that the stable release must have."""


def configured(settings: Settings) -> Target:
    """Return what the settings say. RELEASE holds for the start alone: a swap is how a server gets another release."""
    return Target(settings.model, settings.canary, settings.canary_percent, settings.canary_shadow)
