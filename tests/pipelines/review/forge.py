"""Stand-ins for GitHub and GitLab: what their APIs do with the comments of one merge request, on loopback."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import os
import re
import ssl
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = tuple[int, dict[str, str], Any]


@dataclass(frozen=True)
class Fault:
    """What one request gets in place of its answer; `applied` carries the request out all the same."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b'{"message": "injected"}'
    applied: bool = False
    silent: bool = False
    dropped: bool = False
    garbled: bool = False


@dataclass
class Forge(ABC):
    origin: str
    comments: list[dict[str, Any]] = field(default_factory=list)
    """The oldest first."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    line_end: str = "\n"
    read_only: bool = False
    closing: threading.Event = field(default_factory=threading.Event)

    name: ClassVar[str]
    token: ClassVar[str]
    variable: ClassVar[str]
    access: ClassVar[str]
    update: ClassVar[str]
    limit: ClassVar[int]
    listing: ClassVar[str]
    single: ClassVar[str]
    newest_first: ClassVar[bool]

    @abstractmethod
    def environment(self, folder: Path) -> dict[str, str]:
        """What the CI sets in a job for the merge request."""

    @abstractmethod
    def refuse(self, status: int, words: str) -> Answer:
        """Return a refusal in the forge's format."""

    @abstractmethod
    def authorized(self, headers: Mapping[str, str]) -> bool:
        """Whether the token came as this forge wants it."""

    def add(self, body: str, **more: object) -> int:
        number = 1000 + len(self.comments)
        self.comments.append({"id": number, "body": body.replace("\n", self.line_end), "author": {"id": 5}, **more})
        return number

    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]

    def count(self, method: str) -> int:
        return sum(method == done for done, _ in self.requests)

    def answer(self, method: str, target: str, headers: Mapping[str, str], content: bytes) -> Answer:
        url = urlsplit(target)
        one = re.fullmatch(self.single + r"/(\d+)", url.path)
        if not self.authorized(headers):
            return self.refuse(401, "Bad credentials")
        if method == "GET" and url.path == self.listing:
            return self._page(url.path, {key: int(values[0]) for key, values in parse_qs(url.query).items()})
        if method == "POST" and url.path == self.listing:
            return self._write(headers, content, None)
        if method == self.update and one:
            return self._write(headers, content, int(one[1]))
        return self.refuse(404, "Not Found")

    def _write(self, headers: Mapping[str, str], content: bytes, number: int | None) -> Answer:
        """Create a comment, or change that of a number."""
        if self.read_only:
            return self.refuse(403, "Resource not accessible by integration")
        if not headers["Content-Type"].startswith("application/json"):
            return self.refuse(415, "Unsupported Media Type")
        body = json.loads(content)["body"]
        if not 0 < len(body) <= self.limit:
            return self.refuse(422, "Validation Failed")
        if number is None:
            number = self.add(body)
            return 201, {}, {"id": number, "body": body}
        for comment in self.comments:
            if comment["id"] == number:
                comment["body"] = body.replace("\n", self.line_end)
                return 200, {}, comment
        return self.refuse(404, "Not Found")

    def _page(self, path: str, query: dict[str, int]) -> Answer:
        size, page = min(query.get("per_page", 20), 100), query.get("page", 1)
        found = self.comments[::-1] if self.newest_first else self.comments
        links = [f'<{self.origin}{path}?per_page={size}&page=1>; rel="first"']
        if len(found) > page * size:
            links.append(f'<{self.origin}{path}?per_page={size}&page={page + 1}>; rel="next"')
        return 200, {"Link": ", ".join(links)}, found[(page - 1) * size : page * size]


class GitHub(Forge):
    name, token, variable = "GitHub", "ghs_0123456789abcdefSECRET", "GITHUB_TOKEN"
    access = "pull-requests: write"
    update, limit, newest_first = "PATCH", 65_536, False
    listing, single = "/repos/team/digits/issues/7/comments", "/repos/team/digits/issues/comments"

    def environment(self, folder: Path) -> dict[str, str]:
        event = folder / "event.json"
        event.write_text(json.dumps({"action": "opened", "number": 7, "pull_request": {"id": 99, "number": 7}}))
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.origin,
            "GITHUB_REPOSITORY": "team/digits",
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_TOKEN": self.token,
        }

    def refuse(self, status: int, words: str) -> Answer:
        return (
            status,
            {},
            {"message": words, "documentation_url": "https://docs.github.com/rest", "status": str(status)},
        )

    def authorized(self, headers: Mapping[str, str]) -> bool:
        wanted = ("application/vnd.github+json", "2022-11-28")
        told = (headers.get("Accept"), headers.get("X-GitHub-Api-Version"))
        return told == wanted and headers.get("Authorization") == f"Bearer {self.token}"


class GitLab(Forge):
    name, token, variable = "GitLab", "glpat-0123456789SECRET", "GITLAB_TOKEN"
    access = "role Reporter and scope `api`"
    update, limit, newest_first = "PUT", 1_000_000, True
    listing = single = "/api/v4/projects/42/merge_requests/7/notes"

    def environment(self, folder: Path) -> dict[str, str]:  # noqa: ARG002 (GitHub's stand-in writes files)
        return {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": f"{self.origin}/api/v4",
            "CI_PROJECT_ID": "4711",  # a fork
            "CI_MERGE_REQUEST_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_JOB_TOKEN": "job-token-SECRET",
            "GITLAB_TOKEN": self.token,
        }

    def refuse(self, status: int, words: str) -> Answer:
        return status, {}, {"message": f"{status} {words}"}

    def authorized(self, headers: Mapping[str, str]) -> bool:
        return headers.get("PRIVATE-TOKEN") == self.token and "Authorization" not in headers


@contextlib.contextmanager
def serve(kind: type[Forge], certificate: Path | None = None) -> Iterator[Forge]:
    """Run a stand-in, over TLS with a certificate of its own when there is a path to write that to."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.forge = kind(f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}")
        if certificate:
            server.socket = _context(certificate).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.forge
        finally:
            server.forge.closing.set()
            server.shutdown()
            thread.join()


def _context(path: Path) -> ssl.SSLContext:
    """Return the TLS settings of a server that nobody trusts who is not given this certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "forge")])
    today = dt.datetime.now(dt.UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = certificate.not_valid_before(today).not_valid_after(today + dt.timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = certificate.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(signed.public_bytes(pem) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


class _Server(ThreadingHTTPServer):
    forge: Forge


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that no longer waits
            super().handle_one_request()

    def _respond(self) -> None:
        forge = self.server.forge
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        forge.requests.append((self.command, self.path))
        fault = forge.faults[self.command].pop(0) if forge.faults[self.command] else None
        if fault is None or fault.applied:
            status, headers, document = forge.answer(self.command, self.path, self.headers, content)
            reply = json.dumps(document).encode()
        if fault:
            status, headers, reply = fault.status, dict(fault.headers), fault.content
            if fault.silent:
                forge.closing.wait(10)
            if fault.garbled:
                os.write(self.connection.fileno(), b"no record of TLS")
            if fault.silent or fault.dropped or fault.garbled:
                return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST = do_PATCH = do_PUT = _respond  # noqa: N815 (the server looks for these names)

    def log_message(self, *_: object) -> None:
        """Stay silent."""
