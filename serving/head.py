"""What the head of an HTTP/1.1 request must be beyond what the parser demands, and where it leads (RFC 9112)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

import httptools

from serving.config import Settings
from serving.errors import Refused


def check(headers: Mapping[bytes, bytes], version: str, hosts: int, settings: Settings) -> None:
    """Raise Refused with the status that fits when a head is ambiguous or of a kind not spoken here."""
    if version not in {"1.0", "1.1"}:
        raise Refused(505, "send HTTP/1.1")
    if hosts != 1 and (hosts or version == "1.1"):
        raise Refused(400, "send one Host header (RFC 9112, 3.2)")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise Refused(501, "the only Transfer-Encoding is chunked")
    length = headers.get(b"content-length", b"0")
    if len(length) > 18 or int(length) > settings.max_body:
        raise too_large(settings)


def size(url: bytes, headers: Mapping[bytes, bytes]) -> int:
    """Return the bytes of a request's target and headers."""
    return len(url) + sum(map(len, headers.values())) + sum(map(len, headers))


def too_large(settings: Settings) -> Refused:
    return Refused(413, f"the body is larger than {settings.max_body} bytes")


def split(url: bytes) -> tuple[str, bytes]:
    """Return the path, decoded, and the query of a request target (RFC 9112, 3.2)."""
    if not url.startswith(b"/"):
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return "*", b""
        path, query = parsed.path or b"/", parsed.query or b""
    else:
        path, _, query = url.partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace"), query
