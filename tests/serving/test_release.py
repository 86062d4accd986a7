"""Loading a release: folders and bundles, verified before they serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from model import examples, manifest
from model.examples import Example
from model.inputs import Pixels
from model.manifest import MODEL
from model.predictor import Predictor
from model.release import BUNDLE, SIGNATURE
from serving import release
from serving.errors import ServingError
from serving.release import ReleaseError
from serving.signature import SignatureError
from tests.conftest import ROOT, encode, need
from tests.serving.conftest import make_release


@pytest.fixture
def folder(tmp_path: Path, trained: Path) -> Path:
    make_release(tmp_path / "v1.2.3", trained, "v1.2.3")
    return tmp_path / "v1.2.3"


def pack(folder: Path, bundle: Path, within: str = "v1.2.3/model") -> Path:
    with tarfile.open(bundle, "w:gz") as archive:
        archive.add(folder, within)
    return bundle


def test_a_folder_or_a_bundle_of_it(folder: Path, tmp_path: Path) -> None:
    """Both give the same release; a model without a version is named after its hash."""
    for path in (folder, folder.parent, pack(folder, tmp_path / "bundle.tar.gz")):
        found = release.load(path, expected="v1.2.3", max_batch=8)
        assert found.name == "v1.2.3"
        assert found.labels == tuple("0123456789")
    described = json.loads((folder / manifest.NAME).read_text()) | {"version": None}
    (folder / manifest.NAME).write_text(json.dumps(described))
    assert release.load(folder).name == f"dev-{manifest.sha256(folder / MODEL)[:8]}"


def change(name: str, old: bytes, new: bytes):  # noqa: ANN201 (a case)
    def apply(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return apply


def with_model(content: bytes):  # noqa: ANN201 (a case)
    def apply(folder: Path) -> None:
        (folder / MODEL).write_bytes(content)
        described = json.loads((folder / manifest.NAME).read_text())
        described["files"][MODEL] = manifest.sha256(folder / MODEL)
        (folder / manifest.NAME).write_text(json.dumps(described))

    return apply


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / MODEL).unlink(), "is missing"),
        (lambda folder: (folder / manifest.NAME).unlink(), "holds 0 files manifest.json"),
        (change(manifest.NAME, b'"0"', b'"zero", "0"'), "shapes are not those"),
        (change(manifest.NAME, b"v1.2.3", b"v1\\n2"), "no name of a release"),
        (change(MODEL, b"TFL3", b"TFL4"), "sha256 differs"),
        (with_model(b"x" * 100), "model.tflite"),
    ],
)
def test_a_damaged_release_is_refused(folder: Path, damage: object, said: str) -> None:
    """Whatever is missing or differs is named."""
    damage(folder)
    with pytest.raises(ServingError) as error:
        release.load(folder)
    assert said in str(error.value)


def test_another_release_than_expected_is_refused(folder: Path) -> None:
    """RELEASE says which one must be there."""
    with pytest.raises(ReleaseError, match="is release v1.2.3, but RELEASE=v1.2.4"):
        release.load(folder, expected="v1.2.4")


def test_hostile_bundles_are_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written outside, links lead nowhere, and size is bounded."""
    outside = tmp_path / "outside.tar"
    with tarfile.open(outside, "w") as archive:
        archive.add(folder / MODEL, "../escaped")
    truncated = tmp_path / "truncated.tar.gz"
    truncated.write_bytes(pack(folder, tmp_path / "whole.tar.gz").read_bytes()[:5000])
    text = tmp_path / "text.tar"
    text.write_text("hello")
    for bundle in (outside, truncated, text):
        with pytest.raises(ReleaseError, match="is no bundle"):
            release.load(bundle)
    assert not (tmp_path.parent / "escaped").exists()
    monkeypatch.setattr(release, "MAX_BUNDLE", 1000)
    with pytest.raises(ReleaseError, match="unpacks to more than 1,000 bytes"):
        release.load(tmp_path / "whole.tar.gz")
    with pytest.raises(ReleaseError, match="is no folder and no bundle"):
        release.load(tmp_path / "nothing")


@pytest.fixture
def signed(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A release signed by `model_signing`, and the public key."""
    return folder, sign(folder, tmp_path)


def sign(folder: Path, tmp_path: Path) -> Path:
    """Sign a folder with a new key and return its public half."""
    need("openssl")
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    command = [Path(sys.executable).parent / "model_signing", "sign", "key", "--private_key", private]
    subprocess.run([*command, "--signature", folder / SIGNATURE, folder], check=True, capture_output=True)
    return public


def test_a_signed_release(signed: tuple[Path, Path]) -> None:
    """What OpenSSF Model Signing's own tool signed is served."""
    folder, public = signed
    assert release.load(folder, public).name == "v1.2.3"


def test_a_release_as_it_is_published(folder: Path, tmp_path: Path) -> None:
    """The model is taken out of the signed bundle, whose packages stay packed; a byte more and it is refused."""
    (folder / "server" / "wheels").mkdir(parents=True)
    (folder / "server" / "wheels" / "large.whl").write_bytes(bytes(1000))
    published = tmp_path / "published"
    published.mkdir()
    with tarfile.open(published / BUNDLE, "w") as tar:
        tar.add(folder, "v1.2.3")
    public = sign(published, tmp_path)
    assert release.load(published, public).name == "v1.2.3"
    with (published / BUNDLE).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(SignatureError, match=r"bundle\.tar is not the file that was signed"):
        release.load(published, public)


def forge(folder: Path) -> None:
    """Change the model and everything that describes it but the signature."""
    content = (folder / MODEL).read_bytes()
    with_model(content + b"\0")(folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / SIGNATURE).unlink(), "only signed releases"),
        (forge, "is not the file that was signed"),
        (lambda folder: (folder / "extra.txt").write_text("x"), "was not signed"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "was not signed"),
        (lambda folder: (folder / MODEL).unlink(), "is missing"),
        (lambda folder: (folder / SIGNATURE).write_text("{}"), "no signature of a model"),
        (change(SIGNATURE, b'"payload":"ew', b'"payload":"fw'), "not made with the key"),
        (change(SIGNATURE, b'"payloadType":"application', b'"payloadType":"Application'), "not made with the key"),
        (change(SIGNATURE, b'"signatures":[{', b'"signatures":[],"x":[{'), "no signature of a model"),
    ],
)
def test_a_tampered_release_is_refused(signed: tuple[Path, Path], damage: object, said: str) -> None:
    """Any byte, an extra or missing file, another signature: each is named."""
    folder, public = signed
    damage(folder)
    with pytest.raises(SignatureError) as error:
        release.load(folder, public)
    assert said in str(error.value)


def test_another_key_is_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    """The signature is sound, but of somebody else; and a file that is no key says so."""
    folder, _ = signed
    subprocess.run(
        "openssl ecparam -name prime256v1 -genkey -noout | openssl pkey -pubout -out other.pem",
        shell=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    with pytest.raises(SignatureError, match="not made with the key"):
        release.load(folder, tmp_path / "other.pem")
    (tmp_path / "other.pem").write_text("x")
    with pytest.raises(SignatureError, match=r"other\.pem"):
        release.load(folder, tmp_path / "other.pem")
    with pytest.raises(SignatureError, match="is missing"):
        release.load(folder, tmp_path / "none.pem")


def test_the_predictor_is_the_files(folder: Path) -> None:
    """A loaded release does not need its folder any more."""
    found = release.load(folder)
    shape = Predictor(folder / MODEL).input_shape
    for file in folder.iterdir():
        file.unlink()
    assert found.predictor.input_shape == shape


def test_it_answers_as_when_it_was_evaluated(folder: Path, images: Pixels) -> None:
    """Pictures with known answers come with a release; a server that computes others does not serve it."""
    (answer,) = Predictor(folder / MODEL).predict(images[:1])
    label, probability = str(answer.argmax()), float(answer.max())
    png = encode(Image.fromarray(images[0, ..., 0]))
    for known, refused in ((Example(label, probability, png), False), (Example("none", probability, png), True)):
        (folder / examples.NAME).write_bytes(msgspec.json.encode([known]))
        if refused:
            with pytest.raises(ReleaseError, match="does not answer as when it was evaluated: example 0: .* 'none'"):
                release.load(folder)
        else:
            release.load(folder)
    (folder / examples.NAME).write_text("{}")
    with pytest.raises(ReleaseError, match=r"examples\.json"):
        release.load(folder)


def test_it_can_be_asked_whether_it_serves(folder: Path) -> None:
    """`--check` loads settings and release as a worker does, says so, and listens nowhere."""
    command = [sys.executable, "-m", "serving", "--check"]
    variables = os.environ | {"SLIPWAY_MODEL": str(folder)}

    def check(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, env=variables | more, capture_output=True, text=True, check=False)

    assert check(RELEASE="v1.2.3").stdout == "v1.2.3 can be served\n"
    assert "but RELEASE=v9.9.9" in check(RELEASE="v9.9.9").stderr
    assert "SLIPWAY_WORKERS=0" in check(SLIPWAY_WORKERS="0").stderr
    assert check(RELEASE="v9.9.9").returncode == 1
