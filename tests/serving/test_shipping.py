"""What a server writes reaches Elasticsearch by rsyslog, through the configuration that hosts get."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from model.inputs import Pixels
from tests.conftest import ROOT, need, wait_for
from tests.contracts.log_fields import types
from tests.serving.conftest import Serve, infer_body

AGENT = ROOT / "monitoring" / "logs" / "rsyslog.conf"
PASSWORD = "correct-horse"
KINDS: dict[str, tuple[type, ...]] = {"long": (int,), "float": (int, float)}


@dataclass
class Elasticsearch:
    """Stands for its bulk interface, over TLS and with a password."""

    port: int
    documents: dict[str, Any] = field(default_factory=dict)
    """By id."""
    wrong: list[str] = field(default_factory=list)

    def take(self, authorization: str | None, body: bytes) -> object:
        """Return the answer to a bulk request."""
        if authorization != "Basic " + base64.b64encode(f"slipway:{PASSWORD}".encode()).decode():
            self.wrong.append(f"authorization {authorization}")
        lines = [json.loads(line) for line in body.splitlines()]
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            (operation,) = action
            if (operation, action[operation]["_index"]) != ("create", "logs-slipway-default"):
                self.wrong.append(str(action))
            self.documents[action[operation]["_id"]] = document
            items.append({operation: {"status": 201}})
        return {"errors": False, "items": items}

    @contextmanager
    def run(self, certificates: Path) -> Iterator[None]:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(403, {})  # rsyslog asks for the cluster's health, which its user need not be told

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(200, ours.take(self.headers["Authorization"], sent))

            def _answer(self, status: int, answer: object) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@contextmanager
def rsyslog(folder: Path, port: int, ca: Path) -> Iterator[socket.socket]:
    """Give a socket that takes what journald forwards."""
    way = folder / "log"
    (folder / "work").mkdir()
    (folder / "rsyslog.conf").write_text(
        f'global(workDirectory="{folder}/work")\n'
        f'module(load="imuxsock" sysSock.use="off")\ninput(type="imuxsock" socket="{way}")\n'
        f'include(file="{AGENT}")\naction(type="omfile" file="{folder}/all")\n'
    )
    own = os.environ | {"ELASTICSEARCH_HOST": "127.0.0.1", "ELASTICSEARCH_PORT": str(port), "ELASTICSEARCH_CA": str(ca)}
    own |= {"ELASTICSEARCH_USER": "slipway", "ELASTICSEARCH_PASSWORD": PASSWORD}
    command = ["rsyslogd", "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid"]
    subprocess.run([*command, "-N1"], env=own, check=True, capture_output=True)
    process = subprocess.Popen(command, env=own)
    try:
        wait_for(way.exists, "rsyslog")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.connect(str(way))
            yield sending
    finally:
        process.terminate()
        process.wait(30)


def test_lines_of_a_real_server_arrive_whole(serve: Serve, tmp_path: Path, certificates: Path, images: Pixels) -> None:
    """Each as it was written, once, with the host's name, and after Elasticsearch was away; of other lines none."""
    need("rsyslogd")
    server = serve()
    body = json.dumps(infer_body(images[:1]))
    for number in range(300):
        headers = {"X-Request-Id": f"order-{number}", "User-Agent": 'a\tb"}\\'}
        assert server.ask("POST", "/v2/models/classifier/infer", body, headers)[0] == 200
    server.ask("GET", "/nothing%0A%7B%22forged%22:1%7D")
    server.stop()
    written = server.log.read_bytes().splitlines()
    ours = [json.loads(line) for line in written if line.startswith(b"{")]
    with socket.create_server(("127.0.0.1", 0)) as free:
        elasticsearch = Elasticsearch(free.getsockname()[1])
    with rsyslog(tmp_path, elasticsearch.port, certificates / "ca.pem") as sending:
        for line in (*written, b"Traceback (most recent call last):", b'{"event.dataset": "slipway.access"'):
            sending.send(b"<30>Nov 23 12:00:00 python[17]: " + line)
        with elasticsearch.run(certificates):
            wait_for(lambda: len(elasticsearch.documents) >= len(ours), "the documents", 60)
    assert not elasticsearch.wrong
    found = list(elasticsearch.documents.values())
    hosts = {document.pop("host.name") for document in found}
    assert hosts == {socket.gethostname().partition(".")[0]}
    key = json.JSONEncoder(sort_keys=True).encode
    assert sorted(map(key, found)) == sorted(map(key, ours))
    declared = types()
    for document in found:
        assert all(isinstance(value, KINDS.get(declared[name], (str,))) for name, value in document.items()), document
