"""The part of GitLab's API that a review uses: the notes on merge requests, kept as Markdown files.

https://docs.gitlab.com/api/notes/#merge-requests
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipelines.command import atomic

ADDRESS = re.compile(r"/api/v4/projects/[^/]+/merge_requests/(\d+)/notes(?:/(\d+))?(?:\?.*)?")
Answer = tuple[int, Any]
LONGEST = 1_000_000  # characters in a note, as in GitLab


@contextmanager
def serve(requests: Path, token: str | None) -> Iterator[int]:
    """Yield the port on loopback at which notes are read and written, in `<requests>/<number>/<note>.md`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(_list)

        def do_POST(self) -> None:
            self._answer(_write)

        def do_PUT(self) -> None:
            self._answer(_write)

        def _answer(self, act: Callable[[Path, str | None, bytes], Answer]) -> None:
            found = ADDRESS.fullmatch(self.path)
            sent = self.headers.get("PRIVATE-TOKEN", "")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not token or not secrets.compare_digest(sent, token):
                status, content = 401, {"message": "401 Unauthorized"}
            elif not found or not (requests / found[1]).is_dir():
                status, content = 404, {"message": "404 Not found"}
            else:
                status, content = act(requests / found[1], found[2], body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Keep the pusher's terminal for the pipeline."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _list(folder: Path, _number: str | None, _body: bytes) -> Answer:
    numbers = sorted((int(path.stem) for path in folder.glob("*.md")), reverse=True)
    return 200, [{"id": number, "body": (folder / f"{number}.md").read_text()} for number in numbers]


def _write(folder: Path, number: str | None, body: bytes) -> Answer:
    try:
        text = str(json.loads(body)["body"])
    except (ValueError, LookupError, TypeError):
        return 400, {"message": "400 (Bad request) body is missing"}
    if not 0 < len(text) <= LONGEST:
        return 400, {"message": "400 (Bad request) body has no or too many characters"}
    if number and not (folder / f"{number}.md").exists():
        return 404, {"message": "404 Not found"}
    note = int(number) if number else 1 + max((int(path.stem) for path in folder.glob("*.md")), default=0)
    with atomic(folder / f"{note}.md") as partial:
        partial.write_text(text)
    return (200 if number else 201), {"id": note, "body": text}
