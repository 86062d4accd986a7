"""Issue, list and revoke what clients authenticate with.

python -m serving.keys keys.json issue --name ci --scope predict --days 90
python -m serving.keys keys.json issue --name ci --scope predict --days 1 --sign private.pem
python -m serving.keys keys.json list
python -m serving.keys keys.json revoke ID
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from serving import credentials
from serving.credentials import Credential, CredentialsError, Scope
from serving.errors import ServingError

DAY = 86400
CURVES = {256: "ES256", 384: "ES384", 521: "ES512"}  # RFC 7518, section 3.4


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m serving.keys", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="what SLIPWAY_API_KEYS names; holds no secret")
    commands = parser.add_subparsers(dest="command", required=True)
    issue = commands.add_parser("issue", help="print a new key or token, once")
    issue.add_argument("--name", required=True, help="who it is for")
    issue.add_argument("--scope", action="append", choices=get_args(Scope), required=True, help="may be repeated")
    issue.add_argument("--days", type=float, default=90, help="until it expires [90]")
    issue.add_argument(
        "--sign", type=Path, metavar="KEY", help="make a JSON Web Token, signed by this private key (PEM)"
    )
    issue.add_argument("--audience", default="slipway", help="of a token, as SLIPWAY_JWT_AUDIENCE has it [slipway]")
    issue.add_argument("--issuer", help="of a token, as SLIPWAY_JWT_ISSUER has it")
    commands.add_parser("list", help="show what was issued")
    revoke = commands.add_parser("revoke", help="end a key or token now; servers notice within a second")
    revoke.add_argument("id", help="as list shows it")
    given = parser.parse_args(arguments)
    try:
        {"issue": _issue, "list": _list, "revoke": _revoke}[given.command](given)
    except (ServingError, OSError) as error:
        sys.exit(f"error: {error}")


def _issue(given: argparse.Namespace) -> None:
    if given.days <= 0:
        raise ServingError(f"--days {given.days:g}: say how long it is valid")
    known = credentials.read(given.file) if given.file.exists() else []
    expires = int(time.time() + given.days * DAY)
    scopes = sorted(set(given.scope))
    if given.sign:
        secret, credential = _sign(given, scopes, expires)
    else:
        secret, credential = credentials.new_key(given.name, scopes, expires)
    credentials.write(given.file, [*known, credential])
    print(f"{credential.id} for {credential.name} until {_date(expires)}; shown this once:", file=sys.stderr)
    print(secret)


def _sign(given: argparse.Namespace, scopes: list[Scope], expires: int) -> tuple[str, Credential]:
    import jwt  # noqa: PLC0415 (needed here alone)
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(given.sign.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ServingError(f"{given.sign} is no private key in PEM without a password: {error}") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "EdDSA"
    elif isinstance(key, rsa.RSAPrivateKey):
        algorithm = "RS256"
    elif isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size in CURVES:
        algorithm = CURVES[key.key_size]
    else:
        raise ServingError(f"{given.sign}: expected an Ed25519, RSA, P-256, P-384 or P-521 key")
    identifier, now = secrets.token_hex(4), int(time.time())
    claims = {"sub": given.name, "aud": given.audience, "scope": " ".join(scopes), "jti": identifier}
    claims |= {"iat": now, "exp": expires} | ({"iss": given.issuer} if given.issuer else {})
    token = jwt.encode(claims, key, algorithm)
    return token, Credential(id=identifier, name=given.name, scopes=scopes, created=now, expires=expires)


def _list(given: argparse.Namespace) -> None:
    now = time.time()
    print(f"{'id':<10}{'kind':<7}{'state':<9}{'expires':<12}{'scopes':<15}name")
    for one in credentials.read(given.file):
        state = "revoked" if one.revoked else "expired" if one.expires <= now else "valid"
        kind = "key" if one.sha256 else "token"
        print(f"{one.id:<10}{kind:<7}{state:<9}{_date(one.expires):<12}{','.join(one.scopes):<15}{one.name}")


def _revoke(given: argparse.Namespace) -> None:
    known = credentials.read(given.file)
    found = [one for one in known if one.id == given.id]
    if not found:
        raise CredentialsError(f"{given.file} has no {given.id!r}: see `list`")
    found[0].revoked = found[0].revoked or int(time.time())
    credentials.write(given.file, known)
    print(f"revoked {given.id} of {found[0].name}")


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


if __name__ == "__main__":
    main()
