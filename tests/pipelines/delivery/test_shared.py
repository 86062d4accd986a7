"""The shared repository over HTTPS, by Git's own server behind a password."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.command import PipelineError
from pipelines.delivery import shared
from tests.conftest import need

SECRET = "a-token-that-may-push"


@contextmanager
def serve(root: Path, seen: set[str]) -> Iterator[str]:
    """Yield the address of git-http-backend(1), which asks for the token and writes down what it is given."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            given = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.add(given)
            if not given.endswith(f":{SECRET}"):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            head, _, content = backend(root, self, path, query, body).partition(b"\r\n\r\n")
            lines = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(lines.pop("Status", "200").split()[0]))
            for name, value in (lines | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer  # noqa: N815 (what http.server calls)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(root / "server.pem", root / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def backend(root: Path, request: BaseHTTPRequestHandler, path: str, query: str, body: bytes) -> bytes:
    variables = {
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REMOTE_USER": "team",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": request.command,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "PATH": os.environ["PATH"],
    }
    return subprocess.run(["git", "http-backend"], input=body, env=variables, capture_output=True, check=True).stdout


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    return subprocess.check_output(["git", *identity, *arguments], text=True).strip()


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Who asked the server; the working folder is a repository whose remote has what CI left in its address."""
    need("openssl")
    bare = tmp_path / "team" / "digits.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1", "-nodes"]
    files = ["-keyout", tmp_path / "server.key", "-out", tmp_path / "server.pem"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run([*new, *names, *files], check=True, capture_output=True)
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(tmp_path / "server.pem"))
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    git("init", "--quiet", "--initial-branch=main")
    git("commit", "--quiet", "--allow-empty", "--message", "First")
    found: set[str] = set()
    with serve(tmp_path, found) as place:
        git("remote", "add", "origin", f"https://ci:job-token@{place}/team/digits.git")
        yield found


def test_the_token_pushes_and_fetches(seen: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of what stands in the address, and Git keeps none of it."""
    monkeypatch.setenv(shared.TOKEN, SECRET)
    assert shared.fetch("main") is None
    shared.call("push", "HEAD:refs/heads/main", options=("--quiet",))
    assert shared.fetch("main") == git("rev-parse", "HEAD")
    assert seen == {"", f"git:{SECRET}"}
    assert SECRET not in Path(".git", "config").read_text()


def test_a_token_that_is_refused_is_not_told(seen: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the repository, never the token."""
    monkeypatch.setenv(shared.TOKEN, "another-token")
    with pytest.raises(PipelineError) as error:
        shared.fetch("main")
    assert "another-token" not in str(error.value)
    assert "job-token" not in str(error.value)
    assert "git:another-token" in seen


def test_without_a_token_the_remote_is_asked_as_ever(seen: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, with what its address has."""
    monkeypatch.delenv(shared.TOKEN, raising=False)
    with pytest.raises(PipelineError, match="git ls-remote origin"):
        shared.fetch("main")
    assert "ci:job-token" in seen


def test_no_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    with pytest.raises(PipelineError, match="there is no remote to push to"):
        shared.fetch("main")
