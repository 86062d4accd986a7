# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["httptools>=0.7", "uvicorn>=0.40", "uvloop>=0.22"]
# ///
"""The bare limit: uvicorn reads a request's body and drops it."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def drop(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 (as ASGI has it)
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"{}"})


if __name__ == "__main__":
    uvicorn.run(drop, port=int(sys.argv[1]), access_log=False, log_level="warning", loop="uvloop", http="httptools")
