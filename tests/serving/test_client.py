"""`python -m serving.client`: a table of answers, and the check that deployments make."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from model.examples import Example
from model.inputs import Pixels
from model.predictor import Probabilities
from serving import client
from tests.conftest import ROOT, wait_for
from tests.serving.conftest import Serve, Server
from tests.serving.test_auth import issue, write_keys


@pytest.fixture
def picture(tmp_path: Path, images: Pixels) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(images[0, ..., 0]).save(path)
    return path


def test_a_table_of_answers(server: Server, picture: Path, answers: Probabilities) -> None:
    """Label, probability and latency of each picture, and the release."""
    command = [sys.executable, "-m", "serving.client", "--url", server.url, picture, picture]
    lines = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    for line in lines[1:3]:
        assert line.split()[-3:-1] == [str(answers[0].argmax()), f"{answers[0].max():.4f}"]
    assert lines[3].startswith("release dev-")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--expect", "none"], "expected 'none'"),
        (["--release", "v9"], "expected v9"),
        (["--url", "http://127.0.0.1:1"], "refused"),
        (["--url", "ftp://x"], "expected an address such as"),
        (["/nowhere.png"], "/nowhere.png"),
        ([__file__], 'status 400: {"error":"image 0: not a PNG or JPEG image"}'),
    ],
)
def test_what_is_wrong_is_said(
    server: Server, picture: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    """And the exit code is not zero."""
    with pytest.raises(SystemExit) as error:
        client.main(["--url", server.url, *options, str(picture)])
    assert said in str(error.value)
    capsys.readouterr()


def test_the_known_answer(server: Server, picture: Path, answers: Probabilities) -> None:
    """A deployment goes on when picture and label fit."""
    client.main([str(picture), "--url", server.url, "--expect", str(answers[0].argmax())])


def test_a_server_that_asks_for_credentials(
    serve: Serve, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key comes from the environment; without it the reason is said. A signed token does as well as a key."""
    private, public = write_keys(tmp_path)
    file = tmp_path / "keys.json"
    issue(capsys, file, "--scope", "predict")
    server = serve(api_keys=file, jwt_keys=public)
    with pytest.raises(SystemExit, match="status 401"):
        client.main([str(picture), "--url", server.url])
    for options in ((), ("--sign", str(private))):
        secret = issue(capsys, file, "--scope", "predict", *options)
        monkeypatch.setenv("SERVING_KEY", secret)
        header = {"Authorization": f"Bearer {secret}"}
        wait_for(lambda header=header: server.ask("GET", "/v2", None, header)[0] == 200, "the credential to be known")
        client.main([str(picture), "--url", server.url])


def test_the_examples_of_a_release(server: Server, picture: Path, answers: Probabilities, tmp_path: Path) -> None:
    """All that evaluation knew is asked; another answer, and another probability, end with an error."""
    label, probability = str(answers[0].argmax()), float(answers[0].max())
    for known, said in (
        (Example(label, probability, picture.read_bytes()), None),
        (Example("none", probability, picture.read_bytes()), "expected 'none'"),
        (Example(label, probability - 0.05, picture.read_bytes()), f"expected '{label}'"),
    ):
        (tmp_path / "examples.json").write_bytes(msgspec.json.encode([known]))
        command = ["--examples", str(tmp_path / "examples.json"), "--url", server.url]
        if said is None:
            client.main(command)
        else:
            with pytest.raises(SystemExit, match=said):
                client.main(command)
    with pytest.raises(SystemExit, match="there is no picture"):
        client.main([])
