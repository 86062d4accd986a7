"""OpenSSF Model Signing of a release's folder: by a key, or by the identity that a forge gives to a job (Sigstore).

https://github.com/sigstore/model-transparency. A key is made with OpenSSL:

openssl ecparam -name prime256v1 -genkey -noout -out signing.pem && openssl ec -in signing.pem -pubout -out release.pem
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from model.release import BUNDLE, PROVENANCE, SIGNATURE
from pipelines.command import PipelineError
from pipelines.delivery.settings import Signing

KEY = "SIGNING_KEY"
TOKEN = "SIGSTORE_ID_TOKEN"  # noqa: S105 (its name)
SIGNED = {BUNDLE, PROVENANCE}
NOBODY = "set signing.public_key in delivery.yaml to a PEM file here, or signing.identity and signing.issuer"


def sign(folder: Path, signing: Signing, environment: Mapping[str, str]) -> None:
    """Write the signature of a folder. Raises PipelineError when there is nobody to sign."""
    from model_signing import hashing  # noqa: PLC0415 (half a second)
    from model_signing import signing as library  # noqa: PLC0415

    (folder / SIGNATURE).unlink(missing_ok=True)
    config = library.Config().set_hashing_config(hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False))
    try:
        if signing.identity:
            token = environment.get(TOKEN)
            config.use_sigstore_signer(identity_token=token, use_ambient_credentials=token is None).sign(
                folder, folder / SIGNATURE
            )
        else:
            with private_key(environment) as key:
                config.use_elliptic_key_signer(private_key=key).sign(folder, folder / SIGNATURE)
    except PipelineError:
        raise
    except Exception as error:  # of many libraries: the forge, Fulcio, Rekor, OpenSSL
        raise PipelineError(f"the release is not signed: {error}") from error


def verify(folder: Path, signing: Signing, tag: str) -> str:
    """Check that a folder is a release that the right one signed, and return who.

    Raises PipelineError naming the file that differs, is missing or is too many, or saying that the key is another.
    """
    from model_signing import hashing  # noqa: PLC0415 (half a second)
    from model_signing import verifying as library  # noqa: PLC0415

    logging.getLogger("model_signing").setLevel(logging.ERROR)
    if not (folder / SIGNATURE).is_file():
        raise PipelineError(f"{folder / SIGNATURE} is missing: the release is not signed")
    folder = folder.absolute()  # relative names are not found among what is ignored
    hashes = hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)
    config = library.Config().set_hashing_config(hashes)
    if signing.public_key:
        who = signing.public_key
        if not Path(who).is_file():
            raise PipelineError(f"{who} is missing: signing.public_key in delivery.yaml names it")
        config.use_elliptic_key_verifier(public_key=Path(who))
    elif signing.identity and signing.issuer:
        who = signing.identity.replace("{tag}", tag)  # forges name the tag that a job ran for
        config.use_sigstore_verifier(identity=who, oidc_issuer=signing.issuer)
    else:
        raise PipelineError(NOBODY)
    try:
        config.verify(folder, folder / SIGNATURE)
    except Exception as error:
        raise PipelineError(f"the signature does not hold for {who}: {error}") from error
    if lacking := SIGNED - {each.name for each in folder.iterdir()}:
        raise PipelineError(f"{folder} is signed, but it is no release: {', '.join(sorted(lacking))} is missing")
    return who


def check(signing: Signing, environment: Mapping[str, str]) -> None:
    """Raise PipelineError unless a release can be signed here and verified afterwards."""
    if signing.identity:
        return
    if not signing.public_key or not Path(signing.public_key).is_file():
        raise PipelineError(f"releases are signed: {NOBODY}")
    with private_key(environment):
        pass


@contextmanager
def private_key(environment: Mapping[str, str]) -> Iterator[Path]:
    """Give the file of the private key: the variable names one, or holds one, as forges' secrets do."""
    given = environment.get(KEY, "")
    if not given:
        raise PipelineError(f"{KEY} is not set: it names the PEM file of the private key, or holds it")
    if "-----BEGIN" not in given:
        try:
            found = Path(given).is_file()
        except OSError:  # too long for a name
            found = False
        if not found:  # and what it is instead may be the key itself, which no log may have
            raise PipelineError(f"{KEY} is neither the text of a PEM file nor the name of one")
        yield Path(given)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # readable to its owner alone
        file.write(given)
        file.flush()
        yield Path(file.name)
