"""A stand-in for what GitHub's API does with releases and their files, on loopback; https://docs.github.com/rest/releases."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "team/digits"


@dataclass
class GitHub:
    address: str
    token: str = "secret"
    releases: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    """Names of files whose upload ends in an error, once each."""

    def environment(self) -> dict[str, str]:
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.address,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_TOKEN": self.token,
        }

    def answer(self, method: str, address: str, body: bytes) -> tuple[int, Any]:  # noqa: PLR0911 (an API has answers)
        path, query = urlsplit(address).path, parse_qs(urlsplit(address).query)
        if found := re.fullmatch(rf"/repos/{REPOSITORY}/releases", path):
            if method == "GET":
                return 200, self.releases
            made = json.loads(body) | {"id": 7, "assets": [], "html_url": f"{self.address}/releases/v1"}
            made["upload_url"] = f"{self.address}/uploads/7/assets{{?name,label}}"
            self.releases.append(made)
            return 201, made
        if re.fullmatch(rf"/repos/{REPOSITORY}/releases/7", path) and method == "PATCH":
            self.releases[0] |= json.loads(body)
            return 200, self.releases[0]
        if (found := re.fullmatch(r"/uploads/7/assets", path)) and method == "POST":
            name = query["name"][0]
            if name in self.failing:
                self.failing.remove(name)
                return 502, {"message": "Bad Gateway"}
            if name in self.files:
                return 422, {"message": "already_exists"}
            self.files[name] = body
            self.releases[0]["assets"].append({"name": name, "state": "uploaded"})
            return 201, {"name": name}
        assert not found
        return 404, {"message": "Not Found"}


@contextmanager
def serve() -> Iterator[GitHub]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            allowed = self.headers["Authorization"] == f"Bearer {forge.token}"
            status, content = forge.answer(self.command, self.path, body) if allowed else (401, {"message": "Bad"})
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815 (what http.server calls)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        forge = GitHub(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield forge
        server.shutdown()
