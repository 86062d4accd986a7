"""What Alertmanager's webhook sends, and which of it asks for training.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import msgspec

from pipelines.delivery.environments import PRODUCTION

LABEL, ACTION = "action", "retrain"
"""The label of an alert that asks for training."""
LONGEST = 300  # characters of a summary
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class WrongError(Exception):
    """It is no notification that can be acted on; the message says why, without what was sent."""


class Alert(msgspec.Struct, frozen=True):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class Notification(msgspec.Struct, frozen=True):
    version: Literal["4"]
    alerts: list[Alert]


class Request(msgspec.Struct, frozen=True):
    """One training that is asked for."""

    environment: str
    release: str
    """Empty when the alert names none."""
    alert: str
    summary: str

    def variables(self) -> dict[str, str]:
        """Return what `make retrain` reads."""
        return {f"RETRAIN_{name.upper()}": value for name, value in msgspec.to_builtins(self).items()}


def read(body: bytes) -> list[Request]:
    """Return one request for each environment and release with a firing alert that asks for it. Raises WrongError."""
    try:
        sent = msgspec.json.decode(body, type=Notification)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise WrongError("this is no notification of Alertmanager, version 4") from None
    found: dict[tuple[str, str], Request] = {}
    for alert in sent.alerts:
        if alert.status == "firing" and alert.labels.get(LABEL) == ACTION:
            request = _request(alert)
            found.setdefault((request.environment, request.release), request)
    return list(found.values())


def _request(alert: Alert) -> Request:
    labels = {"environment": PRODUCTION, "release": "", "alertname": ""} | alert.labels
    for name in ("environment", "release", "alertname"):
        if not NAME.fullmatch(labels[name]) and (labels[name] or name != "release"):
            raise WrongError(f"the label {name} of an alert is no name")
    summary = _harmless(alert.annotations.get("summary", ""))
    return Request(labels["environment"], labels["release"], labels["alertname"], summary)


def _harmless(text: str) -> str:
    """Return one line without what GitLab would put variables in for: $NAME, %NAME%."""
    line = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
    return " ".join(line.replace("$", "").replace("%", " percent").split())[:LONGEST]
