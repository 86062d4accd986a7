"""The receiver as a process of its own, with a forge that writes down what it is asked for."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipelines.operations.receiver import NAMES
from tests.conftest import ROOT, wait_for

TOKEN = "a-token-of-alertmanager"
SECRET = "a-secret-of-the-forge"
FIRING = {
    "status": "firing",
    "labels": {"alertname": "Drift", "action": "retrain", "environment": "production", "release": "v1.0.0"},
    "annotations": {"summary": "PSI is 1.3"},
    "fingerprint": "1",
}


@dataclass
class Forge:
    port: int = 0
    statuses: list[int] = field(default_factory=list)
    """What is answered first; then 201."""
    delay: float = 0.0
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    """Path, headers and body of each request."""


@contextmanager
def forge() -> Iterator[Forge]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append((self.path, dict(self.headers), body))
            time.sleep(made.delay)
            self.send_response(made.statuses.pop(0) if made.statuses else 201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Forge(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


@dataclass
class Receiver:
    process: subprocess.Popen[str]
    forge: Forge
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.lines[0]["http.port"])

    def read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def send(self, body: bytes, method: str = "POST", path: str = "/alerts", **headers: str) -> int:
        given = {"Authorization": f"Bearer {TOKEN}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def notify(self, *alerts: dict[str, Any], **other: Any) -> int:
        return self.send(json.dumps({"version": "4", "groupKey": "g", "alerts": alerts} | other).encode())

    def failed(self) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = answer.read().decode()
        (found,) = re.findall(r'^slipway_retraining_requests_total{outcome="failed"} (.*)$', text, re.MULTILINE)
        return float(found)

    def actions(self) -> list[str]:
        return [line["event.action"] for line in self.lines[1:]]


def start(**variables: str) -> subprocess.Popen[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "GITLAB_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.operations.receiver", "--port", "0"],
        cwd=ROOT,
        env=own | {"NO_PROXY": "127.0.0.1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def receiver(there: Forge, **variables: str) -> Iterator[Receiver]:
    process = start(**variables)
    running = Receiver(process, there)
    reader = threading.Thread(target=running.read)
    reader.start()
    try:
        wait_for(lambda: bool(running.lines) or process.poll() is not None, "the receiver")
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
            reader.join()
            assert process.stdout
            process.stdout.close()
    assert process.returncode == 0
    assert running.lines[-1]["event.action"] == "stopped"


@pytest.fixture(scope="module")
def gitlab() -> Iterator[Receiver]:
    with forge() as there, receiver(there, **of_gitlab(there)) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(gitlab: Receiver) -> None:
    gitlab.forge.asked.clear()
    del gitlab.lines[1:]


def of_gitlab(there: Forge) -> dict[str, str]:
    return {
        "RECEIVER_TOKEN": TOKEN,
        "GITLAB_API_URL": f"http://127.0.0.1:{there.port}/api/v4",
        "GITLAB_PROJECT": "team/digits",
        "GITLAB_TRIGGER_TOKEN": SECRET,
    }


def test_an_alert_reaches_gitlab(gitlab: Receiver) -> None:
    """As a trigger of main with the variables that the job reads; the log has names, and nothing else of it."""
    assert gitlab.notify(FIRING) == 200
    ((path, _, body),) = gitlab.forge.asked
    assert path == "/api/v4/projects/team%2Fdigits/trigger/pipeline"
    assert (body["token"], body["ref"]) == (SECRET, "main")
    assert body["variables"] == {
        "RETRAIN": "yes",
        "RETRAIN_ALERT": "Drift",
        "RETRAIN_ENVIRONMENT": "production",
        "RETRAIN_RELEASE": "v1.0.0",
        "RETRAIN_SUMMARY": "PSI is 1.3",
    }
    wait_for(lambda: gitlab.actions() == ["retrain-asked"], "its log")
    written = json.dumps(gitlab.lines)
    assert gitlab.lines[1]["labels.alert"] == "Drift"
    assert {name for line in gitlab.lines for name in line} <= set(NAMES)
    assert not any(secret in written for secret in (TOKEN, SECRET, "PSI"))


def test_an_alert_reaches_github() -> None:
    """As a repository_dispatch event."""
    with forge() as there:
        variables = {
            "RECEIVER_TOKEN": TOKEN,
            "GITHUB_API_URL": f"http://127.0.0.1:{there.port}",
            "GITHUB_REPOSITORY": "team/digits",
            "GITHUB_TOKEN": SECRET,
        }
        with receiver(there, **variables) as running:
            assert running.notify(FIRING) == 200
        ((path, headers, body),) = there.asked
    assert path == "/repos/team/digits/dispatches"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert body["event_type"] == "retrain"
    assert body["client_payload"]["RETRAIN_ALERT"] == "Drift"
    assert len(body["client_payload"]) <= 10  # GitHub takes no more


@pytest.mark.parametrize(
    "given", ["Bearer wrong", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe4"]
)
def test_a_wrong_token(gitlab: Receiver, given: str) -> None:
    """Is refused, and the forge hears nothing."""
    assert gitlab.send(json.dumps({"version": "4", "alerts": [FIRING]}).encode(), Authorization=given) == 401
    assert not gitlab.forge.asked


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\xff",
        b"[]",
        b'"' + b"x" * 1000,
        b"[" * 100_000,
        b'{"version": "4"}',
        b'{"version": "3", "alerts": []}',
        b'{"version": "4", "alerts": [{"status": "firing", "labels": {"action": 1}}]}',
    ],
    ids=range(8),
)
def test_garbage(gitlab: Receiver, body: bytes) -> None:
    """Is refused, and the receiver goes on."""
    assert gitlab.send(body) == 400
    assert gitlab.send(b"", "GET", "/healthz") == 200
    assert not gitlab.forge.asked


def test_what_is_too_large_or_has_no_length(gitlab: Receiver) -> None:
    """Is refused before it is read."""
    assert gitlab.send(b"x" * 300_000) == 413
    connection = http.client.HTTPConnection("127.0.0.1", gitlab.port, timeout=60)
    connection.putrequest("POST", "/alerts")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", "9" * 30)
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()
    assert gitlab.send(b"", "GET") == 404
    assert gitlab.send(b"", path="/other") == 404


@pytest.mark.parametrize(
    "alert",
    [
        FIRING | {"status": "resolved"},
        FIRING | {"labels": {"alertname": "Drift"}},
        FIRING | {"labels": FIRING["labels"] | {"action": "page"}},
    ],
    ids=["resolved", "no action", "another action"],
)
def test_an_alert_that_asks_for_nothing(gitlab: Receiver, alert: dict[str, Any]) -> None:
    """Is taken, so that Alertmanager is content, and the forge hears nothing."""
    assert gitlab.notify(alert) == 200
    assert not gitlab.forge.asked


@pytest.mark.parametrize("name", ["alertname", "environment", "release"])
@pytest.mark.parametrize("value", ["a b", "$(x)", "a\nb", "x" * 101])
def test_labels_that_are_no_names(gitlab: Receiver, name: str, value: str) -> None:
    """Are refused: they would become variables and a branch."""
    assert gitlab.notify(FIRING | {"labels": FIRING["labels"] | {name: value}}) == 400
    assert not gitlab.forge.asked


def test_one_group_asks_once_for_each_release(gitlab: Receiver) -> None:
    """However many of its alerts say the same; without a label it is about production."""
    other = FIRING | {"labels": {"alertname": "Drift", "action": "retrain"}}
    assert gitlab.notify(FIRING, FIRING, other, FIRING | {"status": "resolved"}) == 200
    found = [body["variables"] for _, _, body in gitlab.forge.asked]
    assert [(each["RETRAIN_ENVIRONMENT"], each["RETRAIN_RELEASE"]) for each in found] == [
        ("production", "v1.0.0"),
        ("production", ""),
    ]


def test_several_at_once_ask_once(gitlab: Receiver) -> None:
    """What comes while the forge is asked waits for its answer, a failure among it; afterwards it is asked anew."""
    gitlab.forge.delay, gitlab.forge.statuses = 4.0, [403]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: gitlab.notify(FIRING), range(4)))
    gitlab.forge.delay = 0.0
    assert answers == [503] * 4
    assert len(gitlab.forge.asked) == 1
    assert gitlab.notify(FIRING) == 200
    assert len(gitlab.forge.asked) == 2


def test_a_forge_that_is_down(gitlab: Receiver) -> None:
    """Is asked again; stays it down, Alertmanager hears 503 and tries later, and no secret is in the log."""
    gitlab.forge.statuses = [502, 503]
    assert gitlab.notify(FIRING) == 200
    assert len(gitlab.forge.asked) == 3
    failed = gitlab.failed()
    gitlab.forge.statuses = [500] * 4
    assert gitlab.notify(FIRING) == 503
    assert gitlab.failed() == failed + 1
    assert len(gitlab.forge.asked) == 7
    wait_for(lambda: "retrain-failed" in gitlab.actions(), "its log")
    assert gitlab.lines[-1]["error.message"] == "GitLab answered 500"

    with receiver(Forge(), **of_gitlab(Forge(port=9))) as alone:  # discard: nobody listens there
        assert alone.notify(FIRING) == 503
        wait_for(lambda: "retrain-failed" in alone.actions(), "its log")
        assert "GitLab cannot be reached: ConnectionError" in alone.lines[-1]["error.message"]
        assert SECRET not in json.dumps(alone.lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"RECEIVER_TOKEN": ""}, "RECEIVER_TOKEN is not set"),
        ({"RECEIVER_TOKEN": "short"}, "RECEIVER_TOKEN is shorter than 16 characters"),
        ({"GITLAB_PROJECT": ""}, "set either GITLAB_PROJECT or GITHUB_REPOSITORY"),
        ({"GITHUB_REPOSITORY": "team/digits"}, "set either GITLAB_PROJECT or GITHUB_REPOSITORY"),
        ({"GITLAB_TRIGGER_TOKEN": ""}, "GITLAB_TRIGGER_TOKEN is not set"),
        ({"GITLAB_API_URL": "http://gitlab.example.com/api/v4"}, "must begin with https://"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, str], said: str) -> None:
    """Before anything is listened to."""
    process = start(**of_gitlab(Forge(port=9)) | change)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said in output


def test_who_is_silent_does_not_stop_others(gitlab: Receiver) -> None:
    """A client that sends half a request keeps a thread for some seconds, and nobody else waits."""
    slow = http.client.HTTPConnection("127.0.0.1", gitlab.port, timeout=60)
    slow.putrequest("POST", "/alerts")
    slow.putheader("Authorization", f"Bearer {TOKEN}")
    slow.putheader("Content-Length", "100")
    slow.endheaders()
    started = time.monotonic()
    assert gitlab.notify(FIRING) == 200
    assert time.monotonic() - started < 5
    slow.close()
    wait_for(lambda: {"refused", "broken"} & set(gitlab.actions()), "what becomes of it")
