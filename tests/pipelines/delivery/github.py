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
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Pull requests."""
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
        if (method, path) == ("POST", f"/repos/{REPOSITORY}/pulls"):
            self.requests.append(json.loads(body))
            return 201, {"html_url": f"{self.address}/{REPOSITORY}/pull/{len(self.requests)}"}
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
        if (found := re.fullmatch(rf"/repos/{REPOSITORY}/releases/assets/(\d+)", path)) and method == "DELETE":
            (gone,) = (each for each in self.releases[0]["assets"] if each["id"] == int(found[1]))
            self.releases[0]["assets"].remove(gone)
            self.files.pop(gone["name"], None)
            return 204, None
        if (found := re.fullmatch(r"/uploads/7/assets", path)) and method == "POST":
            name, assets = query["name"][0], self.releases[0]["assets"]
            if name in {each["name"] for each in assets}:
                return 422, {"message": "already_exists"}
            assets.append({"id": len(self.files) + 100, "name": name, "state": "starter"})
            if name in self.failing:
                self.failing.remove(name)
                return 502, {"message": "Bad Gateway"}
            assets[-1]["state"] = "uploaded"
            self.files[name] = body
            return 201, assets[-1]
        assert not found
        return 404, {"message": "Not Found"}


@contextmanager
def serve() -> Iterator[GitHub]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            allowed = self.headers["Authorization"] == f"Bearer {forge.token}"
            status, content = forge.answer(self.command, self.path, body) if allowed else (401, {"message": "Bad"})
            data = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_DELETE = do_GET = do_POST = do_PATCH = answer  # noqa: N815 (what http.server calls)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        forge = GitHub(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield forge
        server.shutdown()
