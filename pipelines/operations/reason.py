"""Why a model is trained again: an alert, whose words a forge passes on in variables, or a person or the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.delivery.environments import PRODUCTION
from pipelines.review.markdown import plain

LONGEST = 500  # characters of a summary


@dataclass(frozen=True)
class Reason:
    environment: str
    alert: str = ""
    """Empty when a person or the clock asks."""
    release: str = ""
    """What served when the alert fired."""
    summary: str = ""

    @property
    def title(self) -> str:
        """Plain text; what forges show of a title is never Markdown."""
        return f"Retrain for {self.environment}" + (f": {self.alert}" if self.alert else "")

    @property
    def text(self) -> str:
        """One paragraph of Markdown."""
        if not self.alert:
            return f"Asked for by a person or the clock, for {plain(self.environment)}."
        who = f"Alert {plain(self.alert)} of {plain(self.environment)}"
        release = f", release {plain(self.release)}" if self.release else ""
        return f"{who}{release}: {plain(self.summary[:LONGEST]) or 'without a summary'}"


def find(environment: Mapping[str, str]) -> Reason:
    """Return the reason that the variables RETRAIN_* give."""
    return Reason(
        environment.get("RETRAIN_ENVIRONMENT") or PRODUCTION,
        " ".join(environment.get("RETRAIN_ALERT", "").split())[:100],
        environment.get("RETRAIN_RELEASE", ""),
        environment.get("RETRAIN_SUMMARY", ""),
    )
