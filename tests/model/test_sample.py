"""A sealed picture: whole for the holder of the key, nothing for anybody else."""

from __future__ import annotations

import base64
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from model import ModelError, sample
from model.sample import Sample
from tests.conftest import need

KEY = X25519PrivateKey.generate()
samples = st.builds(
    Sample,
    request_id=st.text(),
    time=st.datetimes(timezones=st.just(UTC)),
    release=st.text(),
    label=st.text(),
    png=st.binary(min_size=12),
)


@given(found=samples, other=st.binary(max_size=200))
def test_only_its_key_opens_it(found: Sample, other: bytes) -> None:
    """What comes out is what went in; with another key, a changed byte or anything else, an error."""
    sealed = sample.seal(found, KEY.public_key())
    assert found.png not in sealed
    assert sample.unseal(sealed, KEY) == found
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for content, key in ((sealed, X25519PrivateKey.generate()), (changed, KEY), (other, KEY)):
        with pytest.raises(ModelError, match="sealed for another key, or damaged"):
            sample.unseal(content, key)


def test_equal_pictures_are_sealed_differently() -> None:
    """Nobody sees that a picture came twice."""
    found = Sample("1", datetime.now(UTC), "v1", "7", b"png")
    assert sample.seal(found, KEY.public_key()) != sample.seal(found, KEY.public_key())


def test_keys_as_openssl_makes_them(tmp_path: Path) -> None:
    """By the commands that the errors name."""
    need("openssl")
    file = tmp_path / "samples.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", file], check=True)
    der = subprocess.check_output(["openssl", "pkey", "-in", file, "-pubout", "-outform", "DER"])
    private, public = sample.private_key(file.read_bytes()), sample.public_key(base64.b64encode(der).decode())
    assert private.public_key() == public


def test_what_is_no_key() -> None:
    """Another kind of key, the wrong half, nonsense, nothing."""
    signing = Ed25519PrivateKey.generate()
    der = signing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for text in ("", "nonsense!", "AAAA", base64.b64encode(der).decode()):
        with pytest.raises(ModelError, match="no public X25519 key: openssl pkey"):
            sample.public_key(text)
    locked = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).replace(b"PRIVATE", b"PUBLIC")
    for pem in (b"", locked, signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        with pytest.raises(ModelError, match="no private X25519 key: openssl genpkey"):
            sample.private_key(pem)
