"""Pictures as people have them."""

from __future__ import annotations

import json
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.inputs import Pixels, to_batch
from model.predictor import Predictor, Probabilities
from tests.conftest import encode, need, picture
from tests.serving.conftest import Server

PREDICT = "/v1/predict"


def test_every_class_comes_back_in_order(server: Server, images: Pixels, answers: Probabilities) -> None:
    """Label and probability of the best, and as many more as asked, bit for bit."""
    body = encode(Image.fromarray(images[0, ..., 0]))
    answer = server.json("POST", f"{PREDICT}?top=10", body)
    (prediction,) = answer["predictions"]
    assert [one["probability"] for one in prediction["top"]] == sorted(map(float, answers[0]), reverse=True)
    assert prediction["label"] == prediction["top"][0]["label"] == str(answers[0].argmax())
    assert answer["release"].startswith("dev-")
    assert len(server.json("POST", PREDICT, body)["predictions"][0]["top"]) == 3
    assert server.json("POST", f"{PREDICT}?top=0", body)["predictions"][0]["top"] == []
    assert "top=x" in server.error(f"{PREDICT}?top=x", body)


def test_a_photograph_from_a_phone(server: Server, predictor: Predictor, tmp_path: Path) -> None:
    """Curl -F of a large JPEG that EXIF says to turn is answered as the input path sees it, upright."""
    need("curl")
    photo = picture(7, (4032, 3024)).resize((4032, 3024))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    path = tmp_path / "IMG_0001.JPG"
    photo.save(path, "JPEG", quality=60, exif=exif)
    command = ["curl", "--silent", "--show-error", "-F", f"image=@{path}", f"{server.url}{PREDICT}?top=10"]
    (found,) = json.loads(subprocess.check_output(command))["predictions"]
    expected = predictor.predict(to_batch([path.read_bytes()], predictor.input_shape))[0]
    assert [one["probability"] for one in found["top"]] == sorted(map(float, expected), reverse=True)


def form(*parts: bytes, boundary: bytes = b"limit") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary


def file(data: bytes, name: bytes = b"image") -> bytes:
    return b'Content-Disposition: form-data; name="%b"; filename="a.png"\r\n\r\n%b' % (name, data)


FORM = {"Content-Type": "multipart/form-data; boundary=limit"}


def test_a_form_with_several(server: Server, images: Pixels, answers: Probabilities) -> None:
    """Each file is answered, in order; other fields are not pictures."""
    pictures = [encode(Image.fromarray(one[..., 0])) for one in images[:5]]
    field = b'Content-Disposition: form-data; name="note"\r\n\r\nhello'
    answer = server.json("POST", PREDICT, form(field, *map(file, pictures)), **FORM)
    assert [one["label"] for one in answer["predictions"]] == [str(best) for best in answers[:5].argmax(axis=1)]


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that claims, and has, very many white pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" + b"\xff" * width
    rows = b"".join(packer.compress(row) for _ in range(min(height, 2000))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"", {}, "the body is empty"),
        (b"GIF89a", {}, "not a PNG or JPEG"),
        (encode(picture(1))[:100], {}, "damaged image"),
        (bomb(60_000, 60_000), {}, "more than 25,000,000"),
        (form(file(b"x")), FORM, "image 0: not a PNG or JPEG"),
        (form(), FORM, "holds 0 files"),
        (form(file(encode(picture(1))), file(b"x")), FORM, "image 1: not a PNG or JPEG"),
        (b"garbage", FORM, "form"),
        (b"", FORM, "the body is empty"),
        (form(file(b"x")), {"Content-Type": "multipart/form-data"}, "names no boundary"),
        (form(*[file(b"")] * 1100), FORM, "holds 1100 files: send from 1 to 1024"),
        (form(*[file(b"")] * 2100), FORM, "more than 2048 parts"),
        (form(file(b"x")), {"Content-Type": f"multipart/form-data; boundary={'x' * 300}"}, "form"),
    ],
)
def test_bad_requests(server: Server, body: bytes, headers: dict[str, str], said: str) -> None:
    """Status 400 and an object with the reason."""
    assert said in server.error(PREDICT, body, **headers)


def test_the_answer_does_not_depend_on_who_sends(server: Server, images: Pixels) -> None:
    """A form, bare bytes and SageMaker's address agree."""
    body = encode(Image.fromarray(images[3, ..., 0]))
    bare = server.json("POST", f"{PREDICT}?top=10", body)["predictions"]
    assert bare == server.json("POST", f"{PREDICT}?top=10", form(file(body)), **FORM)["predictions"]
    invoked = server.json("POST", "/invocations", body, **{"Content-Type": "image/png"})["predictions"]
    assert sorted(map(np.float32, invoked[0])) == sorted(np.float32(one["probability"]) for one in bare[0]["top"])
