"""A picture that a server was asked about, kept for people to label, and sealed: the server cannot read what it keeps.

It holds what the network saw and answered: no client, no address, nothing else of the file that was sent. Sealed with
HPKE (RFC 9180, base mode) for the holder of an X25519 key.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from functools import cache

import msgspec
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key

from model import ModelError

SUFFIX = ".sealed"
INFO = b"slipway sample"
"""What both sides say the sealing is for."""


class Sample(msgspec.Struct, frozen=True):
    request_id: str
    time: datetime
    release: str
    label: str
    """What the model answered."""
    png: bytes


def seal(sample: Sample, key: X25519PublicKey) -> bytes:
    return _suite().encrypt(msgspec.msgpack.encode(sample), key, INFO)


def unseal(content: bytes, key: X25519PrivateKey) -> Sample:
    """Return what was sealed. Raises ModelError when it was for another key, or is nothing that was sealed."""
    try:
        return msgspec.msgpack.decode(_suite().decrypt(content, key, INFO), type=Sample)
    except (InvalidTag, ValueError, msgspec.DecodeError):
        raise ModelError("sealed for another key, or damaged") from None


def public_key(text: str) -> X25519PublicKey:
    """Return the key of base64 (SubjectPublicKeyInfo, RFC 8410). Raises ModelError."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise ModelError("no public X25519 key: openssl pkey -in samples.pem -pubout -outform DER | base64 prints one")
    return key


def private_key(pem: bytes) -> X25519PrivateKey:
    """Return the key of a PEM file without a password. Raises ModelError."""
    try:
        key = load_pem_private_key(pem, None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise ModelError("no private X25519 key: openssl genpkey -algorithm X25519 -out samples.pem makes one")
    return key


@cache
def _suite() -> Suite:
    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
