"""What starts a pipeline from elsewhere: https://docs.gitlab.com/api/pipeline_triggers#trigger-a-pipeline-with-a-token"""

from __future__ import annotations

import re
import secrets
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import msgspec

from pipelines.command import PipelineError, atomic
from pipelines.local_forge import api, pipeline
from pipelines.local_forge.events import Event
from pipelines.review.repository import git

TOKEN = "trigger-token"  # noqa: S105 (a file of the forge's folder)
LARGEST = 65_536  # bytes


class Wanted(msgspec.Struct, frozen=True):
    token: str
    ref: str
    variables: dict[str, str] = {}


def token(forge: Path) -> str:
    """Return the forge's trigger token, made when there is none."""
    file = forge / TOKEN
    if not file.exists():
        with atomic(file) as partial:
            partial.touch(0o600)
            partial.write_text(secrets.token_hex(16))
    return file.read_text()


def listen(forge: Path, port: int) -> None:
    """Run a pipeline for each trigger that comes to this port of loopback, until this process ends."""
    expected = token(forge)

    class Handler(api.JSONHandler):
        def do_POST(self) -> None:  # noqa: N802 (what http.server calls)
            status, content = 404, {"message": "404 Not found"}
            body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST))
            if re.fullmatch(f"{api.PROJECT}/trigger/pipeline", self.path):
                status, content = _start(forge, expected, body)
            self.send(status, content)

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        print(f"triggers: http://127.0.0.1:{server.server_port}/api/v4, with the token in {forge / TOKEN}", flush=True)
        server.serve_forever()


def _start(forge: Path, expected: str, body: bytes) -> tuple[int, dict[str, str]]:
    try:
        wanted = msgspec.json.decode(body, type=Wanted)
    except (msgspec.MsgspecError, ValueError):
        return 400, {"message": "400 (Bad request) token or ref is missing"}
    if not secrets.compare_digest(wanted.token.encode(), expected.encode()):
        return 404, {"message": "404 Not found"}
    if not all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in wanted.variables):
        return 400, {"message": "400 (Bad request) variables have no such names"}
    try:
        commit = git("-C", str(forge / "repository.git"), "rev-parse", "--verify", f"refs/heads/{wanted.ref}").strip()
    except PipelineError:
        return 400, {"message": "400 (Bad request) Reference not found"}
    event = Event("trigger", commit, wanted.ref, given=wanted.variables)
    threading.Thread(target=pipeline.run, args=(forge, event)).start()
    return 201, {"sha": commit, "ref": wanted.ref, "status": "created"}
