"""The file of credentials that `python -m serving.keys` writes and the server reads: hashes and ids, no secret."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import Literal

import msgspec

from serving.errors import ServingError

Scope = Literal["predict", "admin"]
PREFIX = "slipway_"


class CredentialsError(ServingError):
    """The file cannot be read, or there is no such credential."""


class Credential(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An API key, known by the SHA-256 of its secret, or a signed token, known by its id alone; times in Unix seconds.

    A plain hash is enough: the secret is 256 random bits, which no dictionary holds.
    """

    id: str
    name: str
    scopes: list[Scope]
    created: int
    expires: int
    sha256: str = ""
    revoked: int = 0


class Credentials(msgspec.Struct):
    credentials: list[Credential] = []


def read(path: Path) -> list[Credential]:
    """Return what was issued. Raises CredentialsError when the file is missing or malformed."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials).credentials
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}: make it with `python -m serving.keys issue`") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path}: {error}") from error


def write(path: Path, credentials: list[Credential]) -> None:
    """Replace the file whole, readable by its owner and group alone."""
    content = msgspec.json.format(msgspec.json.encode(Credentials(credentials))) + b"\n"
    with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o640)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise


def new_key(name: str, scopes: list[Scope], expires: int) -> tuple[str, Credential]:
    """Return the key, which is shown once, and what is kept of it."""
    identifier, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"{PREFIX}{identifier}_{secret}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    created = int(time.time())
    return key, Credential(id=identifier, name=name, scopes=scopes, created=created, expires=expires, sha256=digest)
