"""The access log: what is known of an answered request, and the line that it becomes.

A line holds no payload, no token and no address, and of what a client chose only what has the form of an id. Its names
are those of the Elastic Common Schema; docs/logs.md has them all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec

from serving.correlation import Trail

DATASET = "slipway.access"
PROBES = {"v2.live", "v2.ready", "v2.model-ready", "sagemaker.ping"}
"""What balancers ask several times a second; that all is well need not be said each time."""
FAILED = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
"""Codes of gRPC that say what 5xx does in HTTP."""
NAMES = {
    "time": "@timestamp",
    "level": "log.level",
    "dataset": "event.dataset",
    "service": "service.name",
    "endpoint": "event.action",
    "method": "http.request.method",
    "path": "url.path",
    "code": "http.response.status_code",
    "grpc": "labels.grpc_status",
    "duration": "event.duration",
    "size": "http.request.body.bytes",
    "release": "labels.release",
    "model": "labels.model_sha256",
    "label": "labels.class",
    "client": "user.id",
    "request_id": "http.request.id",
    "trace": "trace.id",
    "span": "span.id",
}
encode_lines = msgspec.json.Encoder().encode_lines


class Record(msgspec.Struct, omit_defaults=True, kw_only=True, rename=NAMES.get):
    """One answered request. Until `complete`, times are in seconds, the first by `time.perf_counter`.

    The code is a status of HTTP or the name of one of gRPC; the label is what the model answered, [n, classes].
    """

    time: Any = ""
    level: str = ""
    dataset: str = ""
    service: str = ""
    endpoint: str
    method: str = ""
    path: str = ""
    code: Any = ""
    grpc: str = ""
    duration: float = 0
    size: int = 0
    release: str = ""
    model: str = ""
    label: Any = ""
    client: str = ""
    request_id: str = ""
    trace: str = ""
    span: str = ""
    trail: Trail | None = None


class Model(NamedTuple):
    """What a line says of a release."""

    sha256: str
    labels: tuple[str, ...]


NOTHING = Model("", ())


def complete(records: list[Record], models: Mapping[str, Model], service: str) -> list[Record]:
    """Return what is worth a line, with everything in its final form.

    A class is named where one image was asked about: more of them would make lines as long as requests.
    """
    since = time.time() - time.perf_counter()
    records = [record for record in records if record.code != "200" or record.endpoint not in PROBES]
    for record in records:
        answers = record.label
        record.time = datetime.fromtimestamp(since + record.time, UTC)
        record.level, record.code, record.grpc = _outcome(record.code)
        record.dataset = DATASET
        record.service = service
        record.duration = int(record.duration * 1e9)
        record.model, labels = models.get(record.release, NOTHING)
        record.label = labels[answers.argmax()] if labels and answers is not None and len(answers) == 1 else ""
    return records


@cache
def _outcome(code: str) -> tuple[str, int | str, str]:
    """Return the level of a line, and the code as HTTP's or gRPC's."""
    if code.isdecimal():
        return "error" if code[0] == "5" else "info", int(code), ""
    return "error" if code in FAILED else "info", "", code
