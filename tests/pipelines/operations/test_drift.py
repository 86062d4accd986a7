"""pipelines.operations.drift: what has moved is told, what has not is not, and who cannot tell says so."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.operations import drift
from pipelines.operations.rules import Drift
from tests.conftest import ROOT

CHOSEN = Drift(windows=["1h"], psi=0.2, false_alarms=0.001, unsure=0.4, least=100)
COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(lambda counts: sum(counts) >= CHOSEN.least)
BINS = {"0": 100, "1": 100, "2": 100, "3": 100}
MOVED = {"0": 10, "1": 10, "2": 80, "3": 900}


def named(counts: list[int]) -> dict[str, float]:
    return {str(number): count for number, count in enumerate(counts)}


def judge(seen: dict[str, float], held: dict[str, float]) -> drift.Finding:
    return drift.judge("v1", "brightness", seen, held, CHOSEN)


@given(counts=COUNTS, times=st.integers(1, 1000))
def test_more_of_the_same_is_no_drift(counts: list[int], times: int) -> None:
    """The reference itself, any number of times over, has not moved, and chi-square sees nothing either."""
    found = judge(named([count * times for count in counts]), named(counts))
    assert not found.drifted
    assert found.p_value == pytest.approx(1)


@given(seen=COUNTS, data=st.data())
def test_the_order_of_bins_is_nothing(seen: list[int], data: st.DataObject) -> None:
    """Prometheus returns series in any order: verdict and numbers are the same."""
    held = named(data.draw(st.lists(st.integers(1, 500), min_size=len(seen), max_size=len(seen))))
    order = data.draw(st.permutations(list(held)))
    found, turned = judge(named(seen), held), judge(named(seen), {name: held[name] for name in order})
    assert (turned.images, turned.drifted) == (found.images, found.drifted)
    assert (turned.psi, turned.chance) == pytest.approx((found.psi, found.chance))


@given(counts=COUNTS, sizes=st.tuples(st.integers(1, 1000), st.integers(1, 1000)))
def test_more_images_leave_less_to_chance(counts: list[int], sizes: tuple[int, int]) -> None:
    """What no change at all may look like never grows with the images that were seen."""
    few, many = (judge(named([count * times for count in counts]), named(counts)) for times in sorted(sizes))
    assert many.chance <= few.chance


def test_a_shift_is_named() -> None:
    """By the bin that moved most, with its share before and after."""
    found = judge(dict(MOVED), dict(BINS))
    assert found.drifted
    assert found.moved == "3: 25% to 90%"
    assert found.psi > CHOSEN.psi + found.chance
    assert found.p_value < 1e-9


@pytest.mark.parametrize(("images", "told"), [(99, False), (100, True)])
def test_few_images_say_nothing(images: int, told: bool) -> None:
    """Under `least`, not even that they are all alike."""
    found = judge({"3": images}, dict(BINS))
    assert (found.drifted, bool(found.moved)) == (told, told)


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that answers as Prometheus' API: with the counts of v1, or with what is given."""
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(seen: dict[str, float] | None = None, status: int = 200, raw: bytes | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                body = raw if raw is not None else json.dumps(answer(form["query"][0], seen or {})).encode()
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(query: str, seen: dict[str, float]) -> dict[str, Any]:
    counts = BINS if "reference" in query else seen if "observed" in query else {}
    result = [
        {"metric": {"release": "v1", "feature": "brightness", "bin": name}, "value": [0, str(count)]}
        for name, count in counts.items()
    ]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def command(address: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.operations.drift", "--prometheus", address, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("seen", "options", "code"),
    [
        ({name: 10 * count for name, count in BINS.items()}, [], 0),
        (MOVED, [], 1),
        (MOVED, ["--release", "v1"], 1),
        (MOVED, ["--release", "v2"], 2),
        ({"0": 5}, [], 2),
        ({}, [], 2),
    ],
)
def test_the_exit_code_says_it(serve: Serve, seen: dict[str, float], options: list[str], code: int) -> None:
    """0 is no drift, 1 is drift, 2 that nobody can tell."""
    result = command(serve(seen), *options)
    assert result.returncode == code, result.stdout + result.stderr
    assert ("no release has answered enough" in result.stderr) is (code == 2)


@pytest.mark.parametrize(
    ("status", "raw", "message"),
    [
        (200, b"<html>", "does not answer as Prometheus does"),
        (200, b"{}", "does not answer as Prometheus does"),
        (400, b'{"status": "error", "error": "parse error"}', "refuses .*: parse error"),
    ],
)
def test_what_is_no_prometheus_is_named(serve: Serve, status: int, raw: bytes, message: str) -> None:
    """Another server's answer, or a refusal, is one line with the address."""
    with pytest.raises(drift.PipelineError, match=message):
        drift.look(serve(status=status, raw=raw), "1h", "", CHOSEN)


def test_nobody_there_is_no_drift_and_no_peace() -> None:
    """Without a Prometheus the command ends with 2 and one line."""
    result = command("http://127.0.0.1:1")
    assert result.returncode == 2
    assert result.stderr.startswith("error: http://127.0.0.1:1 does not answer as Prometheus does")
    assert len(result.stderr.splitlines()) == 1
