"""What a person finds: a page to try the model with, and the description of all addresses."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from serving.protocols import Route
from serving.requests import Answer, Request, as_json

if TYPE_CHECKING:
    from serving.app import App

PAGE = Path(__file__).with_name("page.html")


@cache
def _page() -> tuple[bytes, bytes]:
    """Return the page and a policy that allows its own script and style alone, by their hashes."""
    page = PAGE.read_bytes()
    sources = {
        tag: base64.b64encode(hashlib.sha256(re.findall(b"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)[0]).digest())
        for tag in (b"script", b"style")
    }
    policy = (
        b"default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
    )
    policy += b"frame-ancestors 'none'; script-src 'sha256-%b'; style-src 'sha256-%b'"
    return page, policy % (sources[b"script"], sources[b"style"])


async def page(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001 (as every handler)
    content, policy = _page()
    return Answer(content, "", 200, b"text/html; charset=utf-8", ((b"content-security-policy", policy),))


async def openapi(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001
    from serving.openapi import describe  # noqa: PLC0415 (few ask, and it knows every protocol)

    return as_json(describe(app.settings, app.deployment.stable.release))


ROUTES = [
    Route("GET", "/", "site.page", page, ""),
    Route("GET", "/openapi.json", "site.openapi", openapi, ""),
]
