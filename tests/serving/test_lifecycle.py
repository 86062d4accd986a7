"""A server's life under load: swaps, canaries, shadows, killed workers, shutdown. No request is lost, none is wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving.load import Load
from model.inputs import Pixels
from model.manifest import MODEL
from model.predictor import Predictor
from pipelines.training.dataset import Dataset
from serving import keys
from tests.conftest import ROOT, wait_for
from tests.serving.conftest import Serve, Server, infer_body, make_release

Loads = Callable[..., AbstractContextManager[Load]]


@pytest.fixture
def load(releases: Path, images: Pixels) -> Loads:
    """A function that puts a server under load, which knows what each release answers."""
    predictors = {folder.name: Predictor(folder / MODEL) for folder in releases.iterdir()}

    def run(server: Server, clients: int = 4) -> AbstractContextManager[Load]:
        return Load(server.ports["http.port"], images, predictors).run(clients)

    return run


@pytest.fixture
def current(releases: Path) -> Path:
    """A symlink to v1.0.0, as deployments have it."""
    link = releases.parent / "current"
    link.symlink_to(releases / "v1.0.0")
    return link


def point(link: Path, target: Path) -> None:
    new = link.with_name("new")
    new.symlink_to(target)
    new.replace(link)


@pytest.mark.parametrize("threads", [0, 2])
def test_hot_swaps_lose_and_mix_nothing(serve: Serve, current: Path, releases: Path, load: Loads, threads: int) -> None:
    """SIGHUP under load: each answer is that of the release it names, and both have answered."""
    server = serve(current, workers=2, threads=threads)
    with load(server) as found:
        for turn in range(6):
            time.sleep(0.3)
            point(current, releases / ("v2.0.0" if turn % 2 == 0 else "v1.0.0"))
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda turn=turn: len(server.events("swapped")) == turn + 1, "the swap")
    assert not found.wrong + found.lost + found.refused
    assert found.answered.total() == found.sent
    assert set(found.answered) == {"v1.0.0", "v2.0.0"}
    assert server.json("GET", "/v2/models/classifier")["versions"] == ["v1.0.0"]
    wait_for(lambda: server.metric('slipway_swaps_total{outcome="done"}') == 6, "the count")


def test_a_bad_release_leaves_the_old_one_serving(
    serve: Serve, current: Path, releases: Path, load: Loads, trained: Path
) -> None:
    """The reason is logged and counted; a good one is taken afterwards."""
    server = serve(current, workers=2)
    bad = releases.parent / "bad"
    make_release(bad, trained, "v3.0.0")
    (bad / MODEL).write_bytes((bad / MODEL).read_bytes()[:-1] + b"?")
    with load(server) as found:
        point(current, bad)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: bool(server.events("swap-refused")), "the refusal")
        assert "sha256 differs" in server.events("swap-refused")[0]["error.message"]
        point(current, releases / "v2.0.0")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: bool(server.events("swapped")), "the swap")
        time.sleep(0.3)
    assert not found.wrong + found.lost + found.refused
    assert set(found.answered) == {"v1.0.0", "v2.0.0"}
    wait_for(lambda: server.metric('slipway_swaps_total{outcome="refused"}') == 1, "the count")


def test_an_admin_call_swaps_every_worker(
    serve: Serve, releases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a credential of that scope and a name among the releases; everything else changes nothing."""
    file = tmp_path / "keys.json"
    secrets = {}
    for scope in ("predict", "admin"):
        keys.main([str(file), "issue", "--name", scope, "--scope", scope])
        secrets[scope] = {"Authorization": f"Bearer {capsys.readouterr().out.strip()}"}
    server = serve(releases / "v1.0.0", workers=2, releases=releases, api_keys=file)
    path = "/v2/repository/models/classifier/load"

    def ask(release: str, expect: int, scope: str = "admin") -> str:
        body = {"parameters": {"release": release}}
        return json.dumps(server.json("POST", path, body, expect, **secrets.get(scope, {})))

    assert ask("v2.0.0", 401, "nobody")
    assert "lacks the scope" in ask("v2.0.0", 403, "predict")
    for name in ("../v2.0.0", "..", ".", "v9", "/etc"):
        assert "v1.0.0 goes on serving" in ask(name, 409)
    assert "v2.0.0" in ask("v2.0.0", 200)
    for _ in range(20):
        assert server.json("GET", "/v2/models/classifier", **secrets["predict"])["versions"] == ["v2.0.0"]
    assert "v1.0.0" in ask("", 200)
    assert server.json("GET", "/v2/health/ready") == {"ready": True}
    assert server.ask("GET", "/v2")[0] == 401


def test_nobody_administers_an_open_server(serve: Serve, releases: Path) -> None:
    """Without credentials there is no admin."""
    server = serve(releases / "v1.0.0", releases=releases)
    body = {"parameters": {"release": "v2.0.0"}}
    assert "needs authentication" in server.error("/v2/repository/models/classifier/load", body, 403)


def test_a_canary_takes_its_share(serve: Serve, releases: Path, load: Loads) -> None:
    """Each answer names who gave it; either can be asked for by name."""
    server = serve(releases / "v1.0.0", canary=releases / "v2.0.0", canary_percent=25)
    with load(server) as found:
        wait_for(lambda: found.answered.total() > 800, "answers")
    assert not found.wrong + found.lost
    assert 0.18 < found.answered["v2.0.0"] / found.answered.total() < 0.32
    assert server.json("GET", "/v2/models/classifier")["versions"] == ["v1.0.0", "v2.0.0"]
    assert server.json("GET", "/v2/models/classifier/versions/canary/ready")["ready"]


def test_a_shadow_answers_nobody(serve: Serve, releases: Path, load: Loads) -> None:
    """Every answer is the stable one's; how often the shadow agrees is counted."""
    server = serve(releases / "v1.0.0", canary=releases / "v2.0.0", canary_percent=100, canary_shadow="true")
    with load(server) as found:
        wait_for(lambda: found.answered.total() > 300, "answers")
    assert not found.wrong + found.lost
    assert set(found.answered) == {"v1.0.0"}
    series = 'slipway_shadow_images_total{{agreement="{}",release="v2.0.0"}}'
    expected = found.answered.total()
    wait_for(lambda: sum(server.metric(series.format(one)) for one in ("same", "different")) == expected, "the counts")
    assert server.metric(series.format("same")) > 0.9 * expected


def test_killed_workers_are_replaced(serve: Serve, releases: Path, load: Loads) -> None:
    """Only requests in a killed worker are lost; the others go on, and totals do not fall."""
    server = serve(releases / "v1.0.0", workers=2)
    with load(server, 4) as found:
        for turn in range(3):
            time.sleep(0.5)
            os.kill(random.choice(server.workers()), signal.SIGKILL)
            wait_for(lambda turn=turn: server.metric("slipway_worker_exits_total") == turn + 1, "the count")
            wait_for(lambda: server.metric("slipway_workers") == 2, "a new worker")
    assert not found.wrong
    assert len(found.lost) <= 3 * 4
    assert found.answered.total() + len(found.lost) == found.sent


def test_sigterm_answers_every_accepted_request(serve: Serve, releases: Path, load: Loads) -> None:
    """Under load, with two workers and a drain: readiness goes first, then nothing that was sent is lost."""
    for drain in (0, 1):
        server = serve(releases / "v1.0.0", workers=2, drain=drain)
        with load(server, 8) as found:
            wait_for(lambda found=found: found.answered.total() > 100, "answers")
            server.process.send_signal(signal.SIGTERM)
            if drain:
                wait_for(lambda server=server: len(server.events("draining")) == 2, "the drain")
                assert server.ask("GET", "/v2/health/ready")[0] == 503
                assert server.ask("GET", "/v2/health/live")[0] == 200
            assert server.process.wait(30) == 0
        assert not found.wrong + found.lost
        assert found.answered.total() == found.sent


@pytest.mark.parametrize("draining", [False, True])
def test_sigint_spares_the_drain(serve: Serve, releases: Path, load: Loads, draining: bool) -> None:
    """At once or in the middle of one; what was accepted is answered all the same."""
    server = serve(releases / "v1.0.0", workers=2, drain=60, shutdown=90)
    with load(server, 8) as found:
        wait_for(lambda: found.answered.total() > 100, "answers")
        if draining:
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: len(server.events("draining")) == 2, "the drain")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
    assert not found.wrong + found.lost


def test_workers_end_with_their_supervisor(serve: Serve, releases: Path) -> None:
    """Even when it is killed, the ports become free."""
    server = serve(releases / "v1.0.0", workers=2)
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "the workers")


def test_what_cannot_start_says_why(serve: Serve, releases: Path, tmp_path: Path) -> None:
    """A port in use, a missing release, another release than expected: exit code 1 and one line with the reason."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for settings, said in (
            ({"port": port}, f"SLIPWAY_PORT={port} on 127.0.0.1: Address already in use"),
            ({"grpc_port": port}, f"SLIPWAY_GRPC_PORT={port} on 127.0.0.1: Address already in use"),
            ({"metrics_port": port}, f"SLIPWAY_METRICS_PORT={port}: Address already in use"),
            ({"model": tmp_path / "none"}, "is no folder and no bundle"),
            ({"release": "v9.9.9"}, "is release v1.0.0, but RELEASE=v9.9.9"),
            ({"api_keys": tmp_path / "none"}, "No such file or directory"),
        ):
            server = serve(**{"model": releases / "v1.0.0"} | settings, wait=False)
            assert server.process.wait(30) == 1
            assert said in server.log.read_text()


def test_one_request_one_log_line(serve: Serve, releases: Path) -> None:
    """With the release, the status and the trace; an unknown path cannot forge a line, and no payload is in it."""
    server = serve(releases / "v1.0.0")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    server.ask(
        "POST", "/v1/predict?key=secret", b"payload", {"Authorization": "Bearer secret", "X-Request-Id": "order-17"}
    )
    server.ask("GET", "/nothing%0A%7B%22forged%22:1%7D", None, {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    server.stop()
    first, second = (line for line in server.lines() if "http.response.status_code" in line)
    assert first["event.action"] == "images.predict"
    assert first["http.response.status_code"] == 400
    assert first["http.request.id"] == "order-17"
    assert second["trace.id"] == trace
    assert "url.path" not in second
    assert "forged" not in server.log.read_text()
    assert "payload" not in server.log.read_text()
    assert "secret" not in server.log.read_text()


def test_metrics_tell_what_was_seen(serve: Serve, releases: Path, trained: Path, load: Loads) -> None:
    """Requests, images by answer, confidence, inputs and batches add up over workers."""
    server = serve(releases / "v1.0.0", workers=2, api_keys="")
    with load(server) as found:
        wait_for(lambda: found.answered.total() >= 200, "answers")
    total = found.answered.total()
    requests = 'slipway_requests_total{code="200",endpoint="v2.infer",release="v1.0.0"}'
    wait_for(lambda: server.metric(requests) == total, "the counts")
    text = server.metrics()
    by_label = [line for line in text.splitlines() if line.startswith("slipway_predictions_total{")]
    assert sum(float(line.split()[-1]) for line in by_label) == total
    assert server.metric('slipway_prediction_confidence_count{release="v1.0.0"}') == total
    assert server.metric('slipway_queue_duration_seconds_count{release="v1.0.0"}') == total
    assert server.metric('slipway_batch_size_sum{release="v1.0.0"}') == total
    seen = [line for line in text.splitlines() if line.startswith("slipway_observed_total{") and "brightness" in line]
    assert 0 < sum(float(line.split()[-1]) for line in seen) <= total
    held = [line for line in text.splitlines() if line.startswith("slipway_reference_examples{") and "answer" in line]
    assert sum(float(line.split()[-1]) for line in held) == len(Dataset(trained / "dataset").indices("test"))
    info = next(line for line in text.splitlines() if line.startswith("slipway_model_info{"))
    assert 'commit="c0ffee"' in info
    assert 'role="stable"' in info
    wait_for(lambda: server.metric(info.rpartition(" ")[0]) == 2, "both workers")  # one may have begun just now


def test_the_queue_and_the_deadline_are_bounded(serve: Serve, releases: Path) -> None:
    """More than may wait is refused with 503 and Retry-After at once, what waits too long with 504."""
    body = json.dumps(infer_body(np.full((1000, 12, 12, 1), 7, np.uint8))).encode()
    server = serve(releases / "v1.0.0", threads=1, queue=2, deadline=0.05)
    head = f"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    open_sockets = [socket.create_connection(("127.0.0.1", server.ports["http.port"]), 30) for _ in range(30)]
    for one in open_sockets:
        one.sendall(head + body)
    answers = [one.recv(200) for one in open_sockets]
    codes = {answer.split()[1] for answer in answers}
    assert b"200" in codes
    assert codes & {b"503", b"504"}
    assert all(b"retry-after: 1" in answer for answer in answers if answer.split()[1] == b"503")
    for one in open_sockets:
        one.close()
    shutil.rmtree(releases)
    assert server.ask("GET", "/v2/health/ready")[0] == 200


def test_release_holds_for_the_start_and_not_for_workers_after_a_swap(
    serve: Serve, current: Path, releases: Path
) -> None:
    """A worker that dies after a swap is replaced by one of the release that was swapped to."""
    server = serve(current, release="v1.0.0")
    point(current, releases / "v2.0.0")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: bool(server.events("swapped")), "the swap")
    os.kill(server.workers()[0], signal.SIGKILL)
    wait_for(lambda: server.metric("slipway_worker_exits_total") == 1, "the count")
    wait_for(lambda: server.metric("slipway_workers") == 1, "a new worker")
    assert server.json("GET", "/v2/models/classifier")["versions"] == ["v2.0.0"]


def test_no_release_can_break_the_way_to_the_next(serve: Serve, current: Path, releases: Path, trained: Path) -> None:
    """Whatever is wrong with it: the reason is logged, and the next swap works."""
    server = serve(current)
    damages = {
        "text": lambda folder: (folder / "manifest.json").write_bytes(b'{"labels": ["\xff"]}'),
        "folder": lambda folder: ((folder / "manifest.json").unlink(), (folder / "manifest.json").mkdir()),
        "model": lambda folder: (folder / MODEL).write_bytes(b""),
        "name": lambda folder: folder.rename(folder.with_name("n" * 200)),
    }
    for number, (name, damage) in enumerate(damages.items(), 1):
        make_release(releases / name, trained, "v3.0.0")
        damage(releases / name)
        point(current, releases / name)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda number=number: len(server.events("swap-refused")) == number, f"refusal of {name}")
    point(current, releases / "v2.0.0")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: bool(server.events("swapped")), "the swap")


def test_a_canary_must_fit(serve: Serve, releases: Path, trained: Path) -> None:
    """One with other labels is refused at the start."""
    make_release(releases / "other", trained, "v3.0.0")
    path = releases / "other" / "manifest.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | {"labels": [f"{label}?" for label in described["labels"]]}))
    server = serve(releases / "v1.0.0", wait=False, canary=releases / "other", canary_percent=1)
    assert server.process.wait(30) == 1
    assert "other labels or another input than v1.0.0" in server.log.read_text()


def test_the_server_outlives_the_reader_of_its_log(
    releases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], images: Pixels
) -> None:
    """Requests are answered, revocations noticed and slow clients ended when nobody reads standard output any more."""
    file = tmp_path / "keys.json"
    keys.main([str(file), "issue", "--name", "ci", "--scope", "predict"])
    secret = capsys.readouterr().out.strip()
    settings = {"MODEL": releases / "v1.0.0", "PORT": 0, "GRPC": "false", "METRICS_PORT": 0, "API_KEYS": file}
    environment = os.environ | {f"SLIPWAY_{name}": str(value) for name, value in (settings | {"DRAIN": 0}).items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "serving"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        said = json.loads(process.stdout.readline())
        process.stdout.close()
        server = Server(process, tmp_path / "none", {"http.port": said["http.port"]})
        header = {"Authorization": f"Bearer {secret}"}
        body = json.dumps(infer_body(images[:1]))
        for _ in range(600):
            assert server.ask("POST", "/v2/models/classifier/infer", body, header)[0] == 200
        keys.main([str(file), "revoke", secret.split("_")[1]])
        wait_for(lambda: server.ask("GET", "/v2", None, header)[0] == 401, "the revocation", 5)
    finally:
        process.terminate()
        assert process.wait(30) == 0
