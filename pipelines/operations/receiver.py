"""Take alerts from Alertmanager and ask the forge to train again: docs/retraining.md

    RECEIVER_TOKEN=... GITLAB_API_URL=https://gitlab.example.com/api/v4 GITLAB_PROJECT=team/digits \
        GITLAB_TRIGGER_TOKEN=... python -m pipelines.operations.receiver

or GITHUB_REPOSITORY=team/digits and GITHUB_TOKEN. Alerts go to POST /alerts with the token as a bearer's; /healthz says
whether it is up, /metrics how often it asked. Logs are JSON lines in the words of the Elastic Common Schema; of what
was sent they hold names alone.
"""

from __future__ import annotations

import argparse
import hmac
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, generate_latest

from pipelines.command import PipelineError, run
from pipelines.operations import notification, trigger
from pipelines.operations.handover import Handover
from pipelines.operations.notification import Request, WrongError
from pipelines.operations.trigger import ForgeError

DATASET = "slipway.receiver"
NAMES = (
    *("@timestamp", "log.level", "event.dataset", "event.action", "http.port", "http.response.status_code"),
    *("labels.alert", "labels.environment", "labels.release", "error.type", "error.message"),
)
"""Fields of its lines: docs/logs.md"""
LARGEST = 256 * 1024  # bytes of a notification
SHORTEST = 16  # characters of a token
PATIENCE = 10.0  # seconds that a client may be silent
REQUESTS = Counter("slipway_retraining_requests", "Times that the forge was asked to retrain", ["outcome"])
for _outcome in ("asked", "failed"):
    REQUESTS.labels(_outcome)  # Prometheus sees no rise from nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9095, help="0 takes a free one (default: %(default)s)")
    options = parser.parse_args()
    token = trigger.need(os.environ, "RECEIVER_TOKEN")
    if len(token) < SHORTEST:
        raise PipelineError(f"RECEIVER_TOKEN is shorter than {SHORTEST} characters: `openssl rand -hex 32` makes one")
    with Receiver((options.host, options.port), token, Handover(trigger.find(os.environ))) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        log("listening", **{"http.port": server.server_port})
        server.serve_forever()
    log("stopped")


class Receiver(ThreadingHTTPServer):
    daemon_threads = False  # what was begun is finished before it ends

    def __init__(self, address: tuple[str, int], token: str, handover: Handover) -> None:
        self.expected = f"Bearer {token}".encode()
        self.handover = handover
        super().__init__(address, Handler)

    def handle_error(self, *_: object) -> None:
        """Log what went wrong with a client by its name alone."""
        log("broken", "warning", **{"error.type": type(sys.exception()).__name__})


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    timeout = PATIENCE

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
        else:
            self._answer(200 if self.path == "/healthz" else 404)

    def do_POST(self) -> None:
        given = self.headers.get("Authorization", "").encode(errors="surrogateescape")
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else -1
        if self.path != "/alerts":
            self._refuse(404, "no such address", size)
        elif not hmac.compare_digest(given, self.server.expected):
            self._refuse(401, "wrong token, or none", size)
        elif size < 0:
            self._refuse(411, "no length", size)
        elif size > LARGEST:
            self._refuse(413, f"more than {LARGEST} bytes", size)
        else:
            self._take(self.rfile.read(size))

    def _take(self, body: bytes) -> None:
        try:
            wanted = notification.read(body)
        except WrongError as error:
            self._refuse(400, str(error), 0)
            return
        asked = [self._ask(request) for request in wanted]
        self._answer(200 if all(asked) else 503)  # after which Alertmanager tries again

    def _ask(self, request: Request) -> bool:
        names = {
            "labels.alert": request.alert,
            "labels.environment": request.environment,
            "labels.release": request.release,
        }
        try:
            first = self.server.handover.start(request)
        except ForgeError as error:
            REQUESTS.labels("failed").inc()
            log("retrain-failed", "error", **names, **{"error.message": str(error)})
            return False
        if first:
            REQUESTS.labels("asked").inc()
        log("retrain-asked" if first else "retrain-in-hand", **names)
        return True

    def _refuse(self, status: int, why: str, unread: int) -> None:
        log("refused", "warning", **{"http.response.status_code": status, "error.message": why})
        self._answer(status)
        self.rfile.read(max(0, min(unread, LARGEST)))  # or the client's system drops the answer with the connection

    def _answer(self, status: int, body: bytes = b"", media_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "receiver"

    def log_message(self, *_: object) -> None:
        """Its lines are not JSON, and hold addresses."""


def log(action: str, level: str = "info", /, **fields: object) -> None:
    """Write one line with an event's name and fields."""
    when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"@timestamp": when, "log.level": level, "event.dataset": DATASET, "event.action": action} | fields
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main)
