"""Pictures kept for labels: those of the requests that the log names, sealed, bounded, and gone in time."""

from __future__ import annotations

import base64
import io
import stat
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from time import perf_counter, sleep

import grpc
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from model import sample
from model.inputs import Pixels
from model.sample import Sample
from serving import samples
from serving.access import Record
from serving.config import Settings
from serving.correlation import Trail
from serving.protocols import open_inference_pb2 as pb
from serving.samples import Samples
from tests.conftest import wait_for
from tests.serving.conftest import Serve, infer_body

KEY = X25519PrivateKey.generate()
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
INFER = "/v2/models/classifier/infer"


def kept(folder: Path) -> dict[str, Sample]:
    """Return what is there by request id."""
    found = [sample.unseal(path.read_bytes(), KEY) for path in folder.glob("*/[!.]*.sealed")]
    return {each.request_id: each for each in found}


def pixels(found: Sample) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(found.png)))


def test_what_is_asked_is_kept(serve: Serve, images: Pixels, tmp_path: Path) -> None:
    """By HTTP and gRPC, what the network saw and answered; not of several pictures, and nothing where it fails."""
    folder = tmp_path / "samples"
    server = serve(samples=folder, samples_key=PUBLIC, samples_percent=100)
    server.json("POST", INFER, infer_body(images[:1]), **{"x-request-id": "one"})
    server.json("POST", INFER, infer_body(images[:2]), **{"x-request-id": "several"})
    server.json("POST", INFER, {"inputs": []}, 400, **{"x-request-id": "none"})
    tensor = pb.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=images[:1].shape)
    asked = pb.ModelInferRequest(model_name="classifier", inputs=[tensor], raw_input_contents=[images[3].tobytes()])
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc.port']}") as channel:
        method = "/inference.GRPCInferenceService/ModelInfer"
        infer = channel.unary_unary(method, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        infer(asked, metadata=[("x-request-id", "four")])
    assert server.stop() == 0
    found = kept(folder)
    assert set(found) == {"one", "four"}
    lines = {line["http.request.id"]: line for line in server.lines() if "http.request.id" in line}
    for name, image in (("one", images[0]), ("four", images[3])):
        assert (pixels(found[name]) == image.squeeze()).all()
        assert (found[name].label, found[name].release) == (lines[name]["labels.class"], lines[name]["labels.release"])
        assert found[name].time == datetime.fromisoformat(lines[name]["@timestamp"])
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_share_and_never_of_the_request_before(serve: Serve, images: Pixels, tmp_path: Path) -> None:
    """One request in four on one connection or several; where spans are wanted as well, no line has a picture."""
    server = serve(samples=tmp_path / "samples", samples_key=PUBLIC, samples_percent=25, traces="http://127.0.0.1:9")
    for number in range(400):
        server.json("POST", INFER, infer_body(images[:1]), **{"x-request-id": f"n{number}"})
    assert server.stop() == 0
    assert 60 < len(kept(tmp_path / "samples")) < 140  # 4.6 standard deviations, and a day begins with 100
    assert max(len(str(line)) for line in server.lines()) < 1000


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samples_key": ""}, "SLIPWAY_SAMPLES and SLIPWAY_SAMPLES_KEY come together"),
        ({"samples_key": "nonsense"}, "SLIPWAY_SAMPLES_KEY is no public X25519 key"),
        ({"samples_key": PUBLIC, "samples_days": "4000"}, "SLIPWAY_SAMPLES_DAYS=4000"),
        ({"samples": "/proc/samples", "samples_key": PUBLIC}, "SLIPWAY_SAMPLES=/proc/samples cannot be made"),
    ],
)
def test_where_nothing_can_be_kept(serve: Serve, tmp_path: Path, given: dict[str, str], said: str) -> None:
    """The server does not start and says why."""
    server = serve(wait=False, **{"samples": tmp_path / "samples"} | given)
    assert server.process.wait(60) != 0
    assert said in server.log.read_text()


def record(number: int) -> Record:
    trail = Trail(None, True, np.zeros((1, 4, 4, 3), np.uint8))
    return Record(endpoint="v2.infer", time=datetime.now(UTC), label="7", request_id=str(number), trail=trail)


def begin(folder: Path, **chosen: int) -> Samples:
    return Samples(Settings(samples=str(folder), samples_key=PUBLIC, **chosen))


def test_the_days_that_are_over_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start and at midnight, without a request; others stay, and what is not of that form."""
    today = datetime.now(UTC).date()
    days = [(today - timedelta(number)).isoformat() for number in range(4)]
    for name in (*days[1:], "notes", "20200101"):
        (tmp_path / name).mkdir()
    found = begin(tmp_path, samples_days=2)
    found.close(60)
    assert {path.name for path in tmp_path.iterdir()} == {days[1], "notes", "20200101"}

    class Tomorrow(datetime):
        @classmethod
        def now(cls, zone: tzinfo | None = None) -> datetime:
            return datetime.now(zone) + timedelta(days=1)

    found = begin(tmp_path, samples_days=2)
    monkeypatch.setattr(samples, "datetime", Tomorrow)
    found.tick()
    found.close(60)
    assert {path.name for path in tmp_path.iterdir()} == {"notes", "20200101"}


def test_a_day_has_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of them all workers have their share, those that were there before a restart among them."""
    monkeypatch.setattr(samples, "allowance", lambda now: 5)  # noqa: ARG005 (its name there)
    found = begin(tmp_path)
    for numbers in (range(3), range(3, 9)):
        found.add([record(number) for number in numbers])
    found.close(60)
    assert len(kept(tmp_path)) == 5
    for workers, expected in ((1, 5), (2, 8)):
        found = begin(tmp_path, workers=workers)
        found.add([record(10 * workers + number) for number in range(6)])
        found.close(60)
        assert len(kept(tmp_path)) == expected


@given(times=st.lists(st.times(), min_size=2, max_size=2).map(sorted))
def test_they_are_spread_over_the_day(times: list[time]) -> None:
    """It begins with few, never allows more than the most, and late is not less."""
    early, late = (samples.allowance(datetime.combine(datetime.now(UTC), each, UTC)) for each in times)
    assert samples.BURST <= early <= late <= samples.MOST
    noon = samples.allowance(datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert noon == samples.BURST + (samples.MOST - samples.BURST) // 2


def test_a_full_disk_is_said_and_costs_no_request(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One line a minute at most."""
    folder = tmp_path / "samples"
    found = begin(folder)
    (folder / datetime.now(UTC).date().isoformat()).write_text("in the way")
    for number in range(3):
        found.add([record(number)])
    found.close(60)
    assert capfd.readouterr().out.count("samples-lost") == 1


def test_what_the_thread_cannot_keep_up_with_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it writes, `add` returns at once, and little waits."""
    monkeypatch.setattr(samples, "BACKLOG", 2)
    found = begin(tmp_path)
    wait_for(found._writing[0].done, "the start")  # noqa: SLF001 (what the thread is at)
    seal = sample.seal

    def slow(*given: object) -> bytes:
        sleep(0.5)
        return seal(*given)

    monkeypatch.setattr(sample, "seal", slow)
    began = perf_counter()
    for number in range(20):
        found.add([record(number)])
    assert perf_counter() - began < 0.4
    found.close(60)
    assert len(kept(tmp_path)) == 2
