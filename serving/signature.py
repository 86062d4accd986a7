"""OpenSSF Model Signing v1.0 with an elliptic-curve key: the folder holds what was signed, all of it and nothing else.

The signature is a Sigstore bundle whose DSSE envelope holds an in-toto statement with a SHA-256 of each file. The
signer is `model_signing sign key`; this is the verifier's part for one key, because that package brings network
clients that a server has no use for.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from model.manifest import sha256
from model.release import SIGNATURE
from serving.errors import ServingError

PREDICATE = "https://model_signing/signature/v1.0"
# By the size of the curve, as Sigstore has it.
_HASHES = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    521: hashes.SHA512(),
}


class SignatureError(ServingError):
    """The folder is not what the owner of the key signed; the message names the file."""


class _Signature(msgspec.Struct):
    sig: bytes


class _Envelope(msgspec.Struct, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: list[_Signature]


class _Bundle(msgspec.Struct, rename="camel"):
    dsse_envelope: _Envelope


class _Resource(msgspec.Struct):
    name: str
    digest: str
    algorithm: str


class _Predicate(msgspec.Struct):
    resources: list[_Resource]


class _Statement(msgspec.Struct, rename="camel"):
    predicate_type: str
    predicate: _Predicate


def verify(folder: Path, public_key: Path) -> None:
    """Raise SignatureError unless the folder's files are exactly those that the key's owner signed."""
    signature = folder / SIGNATURE
    try:
        envelope = msgspec.json.decode(signature.read_bytes(), type=_Bundle).dsse_envelope
        _verify_envelope(envelope, public_key)
        statement = msgspec.json.decode(envelope.payload, type=_Statement)
    except FileNotFoundError as error:
        raise SignatureError(f"{error.filename} is missing: a key is set, so only signed releases are served") from None
    except (msgspec.MsgspecError, IndexError) as error:
        raise SignatureError(f"{signature} is no signature of a model: {error}") from None
    except InvalidSignature:
        raise SignatureError(f"{signature} was not made with the key of {public_key}") from None
    if statement.predicate_type != PREDICATE:
        raise SignatureError(f"{signature}: {statement.predicate_type} is not {PREDICATE}")
    _compare(folder, statement.predicate.resources)


def _verify_envelope(envelope: _Envelope, public_key: Path) -> None:
    try:
        key = load_pem_public_key(public_key.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{public_key}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size not in _HASHES:
        raise SignatureError(f"{public_key}: expected a public key on P-256, P-384 or P-521")
    kind = envelope.payload_type.encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(envelope.payload), envelope.payload)
    key.verify(envelope.signatures[0].sig, signed, ec.ECDSA(_HASHES[key.key_size]))


def _compare(folder: Path, resources: list[_Resource]) -> None:
    expected = {}
    for resource in resources:
        if resource.algorithm != "sha256":
            raise SignatureError(f"{folder / resource.name}: signed by {resource.algorithm}, expected sha256")
        expected[resource.name] = resource.digest
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    found.pop(SIGNATURE)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise SignatureError(f"{folder / name} is missing, but it was signed")
        if name not in expected:
            raise SignatureError(f"{folder / name} was not signed")
        if sha256(found[name]) != expected[name]:
            raise SignatureError(f"{folder / name} is not the file that was signed")
