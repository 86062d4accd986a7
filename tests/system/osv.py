"""A stand-in for OSV, the database of known weaknesses, on loopback: https://google.github.io/osv.dev/api/."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WEAKNESS = "PYSEC-2000-1"


@contextmanager
def osv(weak: str | None = None) -> Iterator[str]:
    """Yield the address of a database that knows one weakness, of every version of the package `weak`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            found = [query["package"]["name"] == weak for query in asked]
            self._answer({"results": [{"vulns": [{"id": WEAKNESS}]} if is_weak else {} for is_weak in found]})

        def do_GET(self) -> None:
            affected = [{"package": {"ecosystem": "PyPI", "name": weak}, "ranges": []}]
            times = {"modified": "2000-01-01T00:00:00Z", "published": "2000-01-01T00:00:00Z"}
            self._answer({"id": WEAKNESS, "summary": "Planted", "affected": affected, **times})

        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
