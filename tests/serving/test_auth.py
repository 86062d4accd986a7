"""Who may ask: API keys and JSON Web Tokens."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from serving import keys
from serving.auth import Authenticator
from serving.config import Settings
from serving.errors import Refused, ServingError

PRIVATE = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
}


def write_keys(folder: Path, kind: str = "ed25519") -> tuple[Path, Path]:
    key = PRIVATE[kind]
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def issue(capsys: pytest.CaptureFixture[str], file: Path, *options: str) -> str:
    keys.main([str(file), "issue", "--name", "ci", *options])
    return capsys.readouterr().out.split()[-1]


def refused(authenticator: Authenticator, secret: str | bytes | None, scope: str = "predict") -> tuple[int, str]:
    header = None if secret is None else b"Bearer " + (secret if isinstance(secret, bytes) else secret.encode())
    with pytest.raises(Refused) as error:
        authenticator.identify(header, scope)
    return error.value.status, error.value.message


def test_api_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key opens what its scopes say, until it is revoked or expires; the file holds no secret."""
    file = tmp_path / "keys.json"
    predict = issue(capsys, file, "--scope", "predict")
    admin = issue(capsys, file, "--scope", "admin", "--scope", "predict")
    brief = issue(capsys, file, "--scope", "predict", "--days", "0.00001")
    assert not {predict, admin} & set(file.read_text().split('"'))
    assert file.stat().st_mode & 0o777 == 0o640
    found = Authenticator(Settings(api_keys=str(file)))
    assert found.identify(f"bearer {predict}".encode(), "predict").name == predict.split("_")[1]
    assert found.identify(f"Bearer {admin}".encode(), "admin")
    assert refused(found, predict, "admin") == (403, "the credential lacks the scope 'admin'")
    time.sleep(1.9)
    assert refused(found, brief) == (401, "the credential has expired")
    keys.main([str(file), "revoke", predict.split("_")[1]])
    found.refresh()
    assert refused(found, predict)[0] == 401
    assert found.identify(f"Bearer {admin}".encode(), "predict")
    keys.main([str(file), "list"])
    listed = capsys.readouterr().out
    assert [line.split()[2] for line in listed.splitlines()[2:]] == ["revoked", "valid", "expired"]


NO_KEYS = [None, "", "x", "slipway_", "slipway_0_0", b"slipway_\xed\xb2\x80", "a.b.c"]


@pytest.mark.parametrize("secret", NO_KEYS)
def test_what_is_no_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], secret: Any) -> None:
    """With 401 and how to ask."""
    file = tmp_path / "keys.json"
    issue(capsys, file, "--scope", "predict")
    found = Authenticator(Settings(api_keys=str(file)))
    assert refused(found, secret)[0] == 401
    with pytest.raises(Refused, match="Authorization: Bearer"):
        found.identify(b"Basic dXNlcjpwYXNz", "predict")


@pytest.mark.parametrize("kind", PRIVATE)
def test_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """A token that our own tool signs with any usual key is verified, and revoked by its id."""
    private, public = write_keys(tmp_path, kind)
    file = tmp_path / "keys.json"
    token = issue(capsys, file, "--scope", "predict", "--sign", str(private), "--issuer", "https://id.example.com")
    settings = Settings(api_keys=str(file), jwt_keys=str(public), jwt_issuer="https://id.example.com")
    found = Authenticator(settings)
    assert found.identify(f"Bearer {token}".encode(), "predict").name == "ci"
    assert refused(found, token, "admin")[0] == 403
    identifier = jwt.decode(token, options={"verify_signature": False})["jti"]
    keys.main([str(file), "revoke", identifier])
    found.refresh()
    assert refused(found, token) == (401, "the token has been revoked")


def claims(**changes: Any) -> dict[str, Any]:
    plain = {"sub": "ci", "aud": "slipway", "scope": "predict", "exp": time.time() + 60, "iss": "me"}
    return {name: value for name, value in (plain | changes).items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"iss": "you"},
        {"iss": None},
        {"nbf": time.time() + 3600},
    ],
)
def test_claims_are_checked(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Expiry, audience, subject, issuer and not-before."""
    _, public = write_keys(tmp_path)
    found = Authenticator(Settings(jwt_keys=str(public), jwt_issuer="me"))
    for good in (claims(), claims(scope=["predict"])):
        assert found.identify(b"Bearer " + jwt.encode(good, PRIVATE["ed25519"], "EdDSA").encode(), "predict")
    assert refused(found, jwt.encode(claims(**changes), PRIVATE["ed25519"], "EdDSA"))[0] == 401


def test_forged_tokens_are_refused(tmp_path: Path) -> None:
    """No algorithm, the public key as a shared secret, another key, and changed claims."""
    _, public = write_keys(tmp_path, "RSA")
    found = Authenticator(Settings(jwt_keys=str(public)))
    good = jwt.encode(claims(), PRIVATE["RSA"], "RS256")
    assert found.identify(f"Bearer {good}".encode(), "predict")
    head, _, signature = good.split(".")
    other = jwt.encode(claims(scope="admin"), PRIVATE["RSA"], "RS256").split(".")[1]
    hmac_key = b"x" * 32
    for token in (
        jwt.encode(claims(), None, "none"),
        jwt.encode(claims(), hmac_key, "HS256"),
        jwt.encode(claims(), PRIVATE["P-256"], "ES256"),
        jwt.encode(claims(), rsa.generate_private_key(65537, 2048), "RS256"),
        f"{head}.{other}.{signature}",
        good[:-2],
        "." * 10_000,
    ):
        assert refused(found, token)[0] == 401


def test_a_key_set_is_chosen_from_by_id(tmp_path: Path) -> None:
    """JWKS: the token's `kid` finds its key, another is refused, and a new file is noticed."""
    file = tmp_path / "jwks.json"

    def publish(**named: Any) -> None:
        to_jwk = jwt.get_algorithm_by_name("RS256").to_jwk
        found = [json.loads(to_jwk(key.public_key())) | {"kid": name} for name, key in named.items()]
        file.write_text(json.dumps({"keys": found}))
        os.utime(file, ns=(time.time_ns(), time.time_ns()))

    publish(first=PRIVATE["RSA"])
    found = Authenticator(Settings(jwt_keys=str(file)))
    token = jwt.encode(claims(), PRIVATE["RSA"], "RS256", {"kid": "first"})
    assert found.identify(f"Bearer {token}".encode(), "predict")
    later = rsa.generate_private_key(65537, 2048)
    token_later = jwt.encode(claims(), later, "RS256", {"kid": "second"})
    assert refused(found, token_later)[1] == "the token names a key that is not known here"
    publish(second=later)
    found.refresh()
    assert found.identify(f"Bearer {token_later}".encode(), "predict")
    assert refused(found, token)[0] == 401


def test_a_bad_file_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At start it is an error; later what was read before still holds."""
    file = tmp_path / "keys.json"
    with pytest.raises(ServingError, match=r"keys\.json"):
        Authenticator(Settings(api_keys=str(file)))
    key = issue(capsys, file, "--scope", "predict")
    found = Authenticator(Settings(api_keys=str(file)))
    file.write_text("{")
    with pytest.raises(ServingError, match=r"keys\.json"):
        found.refresh()
    assert found.identify(f"Bearer {key}".encode(), "predict")
    for content in ("x", "{}", '{"keys": []}'):
        (tmp_path / "public.pem").write_text(content)
        with pytest.raises(ServingError, match="neither a public key in PEM nor a JWKS"):
            Authenticator(Settings(jwt_keys=str(tmp_path / "public.pem")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["revoke", "x"], "No such file"),
        (["issue", "--name", "a", "--scope", "predict", "--days", "0"], "how long"),
        (["issue", "--name", "a", "--scope", "predict", "--sign", "none.pem"], "No such file"),
        (["issue", "--name", "a", "--scope", "predict", "--sign", __file__], "no private key"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, arguments: list[str], said: str) -> None:
    """And writes nothing."""
    with pytest.raises(SystemExit) as error:
        keys.main([str(tmp_path / "keys.json"), *arguments])
    assert said in str(error.value)
    assert not (tmp_path / "keys.json").exists()
