"""The parts of GitLab's API that jobs use: notes on merge requests, releases and their files, all kept as files.

https://docs.gitlab.com/api/notes, https://docs.gitlab.com/api/releases,
https://docs.gitlab.com/user/packages/generic_packages
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from pipelines.command import atomic

PROJECT = r"/api/v4/projects/[^/]+"
NAME = r"(\w[\w.-]*)"
LONGEST = 1_000_000  # characters in a note or a description, as in GitLab
REQUESTS, RELEASES = "merge-requests", "releases"
DESCRIPTION = "notes"
Answer = tuple[int, Any]
NOT_FOUND = (404, {"message": "404 Not found"})


class JSONHandler(BaseHTTPRequestHandler):
    def send(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the terminal for pipelines."""


@contextmanager
def serve(forge: Path, token: str | None) -> Iterator[int]:
    """Yield the port on loopback at which the forge's API is."""

    class Handler(JSONHandler):
        def answer(self) -> None:
            sent = self.headers.get("PRIVATE-TOKEN") or self.headers.get("JOB-TOKEN") or ""
            length = int(self.headers.get("Content-Length", 0))
            if token and secrets.compare_digest(sent, token):
                status, content = _answer(forge, self.command, self.path, self.rfile, length)
            else:
                status, content = 401, {"message": "401 Unauthorized"}
                self.close_connection = True
            self.send(status, content)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 (what http.server calls)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _answer(forge: Path, method: str, address: str, body: BufferedIOBase, length: int) -> Answer:
    for (wanted, pattern), act in ROUTES.items():
        found = re.fullmatch(f"{PROJECT}/{pattern}", address.partition("?")[0])
        if found and wanted == method:
            return act(forge, *found.groups()) if method == "GET" else act(forge, *found.groups(), body, length)
    body.read(length)
    return NOT_FOUND


def _notes(forge: Path, request: str) -> Answer:
    folder = forge / REQUESTS / request
    if not folder.is_dir():
        return NOT_FOUND
    numbers = sorted((int(path.stem) for path in folder.glob("*.md")), reverse=True)
    return 200, [{"id": number, "body": (folder / f"{number}.md").read_text()} for number in numbers]


def _add_note(forge: Path, request: str, body: BufferedIOBase, length: int) -> Answer:
    folder = forge / REQUESTS / request
    number = 1 + max((int(path.stem) for path in folder.glob("*.md")), default=0)
    return _write(folder, str(number), "body", body.read(length), 201)


def _change_note(forge: Path, request: str, number: str, body: BufferedIOBase, length: int) -> Answer:
    content = body.read(length)
    folder = forge / REQUESTS / request
    return _write(folder, number, "body", content, 200) if (folder / f"{number}.md").exists() else NOT_FOUND


def _release(forge: Path, tag: str) -> Answer:
    file = forge / RELEASES / tag / f"{DESCRIPTION}.md"
    return (200, {"tag_name": tag, "description": file.read_text()}) if file.exists() else NOT_FOUND


def _add_release(forge: Path, body: BufferedIOBase, length: int) -> Answer:
    content = body.read(length)
    tag = str(json.loads(content).get("tag_name", ""))
    if not re.fullmatch(NAME, tag):
        return 400, {"message": "400 (Bad request) tag_name is missing"}
    (forge / RELEASES / tag).mkdir(parents=True, exist_ok=True)
    return _write(forge / RELEASES / tag, DESCRIPTION, "description", content, 201)


def _change_release(forge: Path, tag: str, body: BufferedIOBase, length: int) -> Answer:
    return _write(forge / RELEASES / tag, DESCRIPTION, "description", body.read(length), 200)


def _add_package(forge: Path, tag: str, name: str, body: BufferedIOBase, length: int) -> Answer:
    with atomic(forge / RELEASES / tag / name) as partial, partial.open("wb") as file:
        while length:
            data = body.read(min(length, 1024 * 1024))
            if not data:
                raise ConnectionError("the sender is gone")
            length -= len(data)
            file.write(data)
    return 201, {"message": "201 Created"}


ROUTES: dict[tuple[str, str], Callable[..., Answer]] = {
    ("GET", r"merge_requests/(\d+)/notes"): _notes,
    ("POST", r"merge_requests/(\d+)/notes"): _add_note,
    ("PUT", r"merge_requests/(\d+)/notes/(\d+)"): _change_note,
    ("GET", f"releases/{NAME}"): _release,
    ("POST", "releases"): _add_release,
    ("PUT", f"releases/{NAME}"): _change_release,
    ("PUT", f"packages/generic/release/{NAME}/{NAME}"): _add_package,
}


def _write(folder: Path, name: str, key: str, content: bytes, status: int) -> Answer:
    """Keep a text of a JSON body as a Markdown file."""
    if not folder.is_dir():
        return NOT_FOUND
    try:
        text = str(json.loads(content)[key])
    except (ValueError, LookupError, TypeError):
        return 400, {"message": f"400 (Bad request) {key} is missing"}
    if not 0 < len(text) <= LONGEST:
        return 400, {"message": f"400 (Bad request) {key} has no or too many characters"}
    with atomic(folder / f"{name}.md") as partial:
        partial.write_text(text)
    return status, {"id": int(name) if name.isdigit() else name, key: text}
