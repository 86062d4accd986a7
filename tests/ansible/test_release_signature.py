"""What a host checks before it runs anything of a release."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from model.manifest import sha256
from model.release import BUNDLE, PROVENANCE, SIGNATURE
from pipelines.delivery import signing
from pipelines.delivery.settings import Signing
from tests.ansible.plugins import run
from tests.conftest import flip, need


def make_key(folder: Path, curve: str) -> tuple[Path, str]:
    private = folder / f"{curve}.pem"
    subprocess.run(["openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", private], check=True)
    public = subprocess.check_output(["openssl", "ec", "-in", private, "-pubout"], text=True, stderr=subprocess.DEVNULL)
    return private, public


@pytest.fixture(scope="module", params=["prime256v1", "secp384r1"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A signed folder, and the public key."""
    need("openssl")
    folder = tmp_path_factory.mktemp("release")
    private, public = make_key(tmp_path_factory.mktemp("key"), request.param)
    (folder / BUNDLE).write_bytes(bytes(range(256)) * 1000)
    (folder / PROVENANCE).write_text("{}")
    signing.sign(folder, Signing(public_key="x", identity=None, issuer=None), {"SIGNING_KEY": str(private)})
    return folder, public


def test_what_was_signed_holds(release: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    """By the key; and, where no key signs, by the hashes that the deploying machine has verified."""
    folder, public = release
    assert run(capsys, "release_signature", folder=str(folder), public_key=public) == {"changed": False} | dict(
        run(capsys, "release_signature", folder=str(folder), public_key=public)
    )
    known = {path.name: sha256(path) for path in folder.iterdir()}
    assert not run(capsys, "release_signature", folder=str(folder), sha256=known).get("failed")
    known[BUNDLE] = known[PROVENANCE]
    assert f"{BUNDLE} is not the file" in run(capsys, "release_signature", folder=str(folder), sha256=known)["msg"]
    assert "neither a key nor a hash" in run(capsys, "release_signature", folder=str(folder))["msg"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip(BUNDLE), f"{BUNDLE} is not the file that was signed"),
        (flip(PROVENANCE), f"{PROVENANCE} is not the file that was signed"),
        (flip(SIGNATURE), SIGNATURE),
        (lambda folder: (folder / SIGNATURE).write_text("[]"), f"{SIGNATURE} is damaged"),
        (lambda folder: (folder / SIGNATURE).unlink(), SIGNATURE),
        (lambda folder: (folder / BUNDLE).unlink(), f"{BUNDLE} is missing"),
        (lambda folder: (folder / "extra").touch(), "extra was not signed"),
    ],
)
def test_what_does_not_hold_is_named(
    release: tuple[Path, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    said: str,
) -> None:
    """Any byte, a file too many or too few."""
    folder = shutil.copytree(release[0], tmp_path / "copy")
    damage(folder)
    result = run(capsys, "release_signature", folder=str(folder), public_key=release[1])
    assert result["failed"]
    assert said in result["msg"]


def test_somebody_elses_key(release: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sound signature of another key is refused, and so is what is no key."""
    _, other = make_key(tmp_path, "prime256v1")
    for key, said in ((other, "was not made with the key"), ("nonsense", "the public key is none on P-256")):
        result = run(capsys, "release_signature", folder=str(release[0]), public_key=key)
        assert said in result["msg"]
