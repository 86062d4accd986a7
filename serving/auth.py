"""Who asks, and what they may: API keys, or JSON Web Tokens (RFC 7519) of an issuer whose public keys are in a file."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jwt

from serving import credentials
from serving.config import Settings
from serving.credentials import Credential
from serving.errors import Refused, ServingError

# Asymmetric alone: a server that can verify a token must not be able to make one.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
REMEMBERED = 1024
"""Verified tokens that are remembered, because a signature costs more than an inference."""


class Identity(NamedTuple):
    """A client's name for logs and limits, its scopes, and when its credential ends in Unix seconds."""

    name: str
    scopes: frozenset[str]
    expires: float


class Authenticator:
    """Verifies the Authorization header against files that are read again when they change."""

    def __init__(self, settings: Settings) -> None:
        """Read the files. Raises ServingError when one is missing or malformed."""
        self._settings = settings
        self._stamps: dict[str, tuple[int, int]] = {}
        self._keys: dict[str, Credential] = {}
        self._revoked: set[str] = set()
        self._public: list[tuple[str | None, Any]] = []
        self._verified: dict[bytes, Identity] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read what has changed. Raises ServingError and keeps what was read before of the file at fault."""
        for path, read in ((self._settings.api_keys, self._read_keys), (self._settings.jwt_keys, self._read_public)):
            if path and self._stamps.get(path) != (stamp := _stamp(path)):
                read(Path(path))
                self._stamps[path] = stamp
                self._verified = {}

    def _read_keys(self, path: Path) -> None:
        found = credentials.read(path)
        self._keys = {one.id: one for one in found if one.sha256 and not one.revoked}
        self._revoked = {one.id for one in found if one.revoked}

    def _read_public(self, path: Path) -> None:
        self._public = _public_keys(path)

    def identify(self, authorization: bytes | None, scope: str) -> Identity:
        """Return who sent an Authorization header. Raises Refused: 401 without a valid one, 403 without the scope."""
        if not authorization:
            raise _unauthorized("send the header Authorization: Bearer <key or token>")
        identity = self._verified.get(authorization)
        if identity is None:
            kind, _, token = authorization.partition(b" ")
            if kind.lower() != b"bearer":
                raise _unauthorized("send the header Authorization: Bearer <key or token>")
            identity = self._identify(token.strip())
            if len(self._verified) >= REMEMBERED:
                self._verified.clear()
            self._verified[authorization] = identity
        if identity.expires <= time.time():
            raise _unauthorized("the credential has expired")
        if scope not in identity.scopes:
            raise Refused(403, f"the credential lacks the scope {scope!r}")
        return identity

    def _identify(self, token: bytes) -> Identity:
        if token.startswith(credentials.PREFIX.encode()):
            return self._by_key(token)
        return self._by_token(token)

    def _by_key(self, key: bytes) -> Identity:
        identifier = key.removeprefix(credentials.PREFIX.encode()).partition(b"_")[0].decode(errors="replace")
        found = self._keys.get(identifier)
        expected = found.sha256 if found else "0" * 64
        if not hmac.compare_digest(hashlib.sha256(key).hexdigest(), expected) or not found:
            raise _unauthorized("the key is not valid")
        return Identity(found.id, frozenset(found.scopes), found.expires)

    def _by_token(self, token: bytes) -> Identity:
        if not self._public:
            raise _unauthorized("the key is not valid")
        reason = "the token names a key that is not known here"
        try:
            named = jwt.get_unverified_header(token).get("kid")
            for name, key in self._public:
                if name in {None, named}:
                    try:
                        return self._verify(token, key)
                    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError) as error:
                        reason = f"the token is not valid: {error}"
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            reason = f"the token is not valid: {error}"
        raise _unauthorized(reason)

    def _verify(self, token: bytes, key: Any) -> Identity:  # noqa: ANN401 (a key of any kind)
        claims = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            audience=self._settings.jwt_audience,
            issuer=self._settings.jwt_issuer or None,
            options={"require": ["exp", "sub", "aud"]},
        )
        if str(claims.get("jti")) in self._revoked:
            raise _unauthorized("the token has been revoked")
        return Identity(str(claims["sub"]), frozenset(_scopes(claims)), float(claims["exp"]))


def _scopes(claims: dict[str, Any]) -> Iterable[str]:
    """RFC 8693, section 4.2: `scope` is a list with blanks between; some issuers send an array."""
    given = claims.get("scope", "")
    return given.split() if isinstance(given, str) else [str(one) for one in given]


def _public_keys(path: Path) -> list[tuple[str | None, Any]]:
    """Return keys with their ids; a PEM file's one has none, and a JWKS's may have none."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 (costs memory)

    try:
        content = path.read_bytes()
        if content.lstrip().startswith(b"{"):
            return [(key.key_id, key) for key in jwt.PyJWKSet.from_dict(json.loads(content)).keys]
        return [(None, load_pem_public_key(content))]
    except OSError as error:
        raise ServingError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, RecursionError, jwt.PyJWTError) as error:
        raise ServingError(f"{path} is neither a public key in PEM nor a JWKS: {error}") from error


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise ServingError(f"{path}: {error.strerror}") from error
    return found.st_mtime_ns, found.st_ino


def _unauthorized(message: str) -> Refused:
    return Refused(401, message, ((b"www-authenticate", b"Bearer"),))
