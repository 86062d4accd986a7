"""TLS for both HTTP and gRPC, from files."""

from __future__ import annotations

import ssl
from pathlib import Path

from serving.config import Settings
from serving.errors import ServingError


def context(settings: Settings) -> ssl.SSLContext | None:
    """Return what HTTP listens with: TLS 1.2 or newer, client certificates when a CA for them is set.

    Raises ServingError when a file is missing, malformed, or the key is another certificate's.
    """
    if not settings.tls_certificate:
        return None
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        found.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_client_ca:
            found.load_verify_locations(settings.tls_client_ca)
            found.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        raise ServingError(
            f"TLS with {settings.tls_certificate}, {settings.tls_key} {settings.tls_client_ca}: {error}"
        ) from error
    return found


def expiry(settings: Settings) -> float | None:
    """Return when the server's own certificate ends, in seconds since 1970; without TLS there is none."""
    if not settings.tls_certificate:
        return None
    from cryptography import x509  # noqa: PLC0415 (10 MB that a server without TLS does not need)

    return x509.load_pem_x509_certificate(Path(settings.tls_certificate).read_bytes()).not_valid_after_utc.timestamp()


def grpc_files(settings: Settings) -> tuple[bytes, bytes, bytes | None]:
    """Return the private key, the chain and the clients' CA as gRPC takes them."""
    ca = Path(settings.tls_client_ca).read_bytes() if settings.tls_client_ca else None
    return Path(settings.tls_key).read_bytes(), Path(settings.tls_certificate).read_bytes(), ca
