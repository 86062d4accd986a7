"""The rules that protect main and releases, applied to stand-ins for both forges."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipelines.command import PipelineError
from pipelines.protection import Api, github, gitlab
from tests.conftest import ROOT


class Stand:
    """What a forge holds, by address, and the requests that changed it."""

    def __init__(self, held: dict[str, Any]) -> None:
        self.held = held
        self.changes: list[tuple[str, str, Any]] = []
        self.address = ""


@contextmanager
def stand_in(held: dict[str, Any], token: str = "t") -> Iterator[Stand]:
    stand = Stand(held)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            path, body = urlsplit(self.path).path, self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if token not in {self.headers.get("PRIVATE-TOKEN"), self.headers.get("Authorization", "")[7:]}:
                status, content = 401, {"message": "Bad credentials"}
            elif self.command == "GET":
                status, content = (200, stand.held[path]) if path in stand.held else (404, {"message": "Not Found"})
            else:
                stand.changes.append((self.command, path, json.loads(body or b"null")))
                status, content = 200, {}
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 (the server looks for these names)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stand.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield stand
        server.shutdown()


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_github_creates_and_updates() -> None:
    """A ruleset that is there by name is updated, another created; main needs the one required check, up to date."""
    with stand_in({"/repos/team/digits/rulesets": [{"id": 9, "name": "main"}]}) as stand:
        done = list(github(Api(stand.address, {"Authorization": "Bearer t"}), "team/digits"))
    assert done == [".github/rulesets/main.json: updated", ".github/rulesets/releases.json: created"]
    (method, path, main), (other, place, releases) = stand.changes
    assert (method, path, other, place) == (
        *("PUT", "/repos/team/digits/rulesets/9"),
        *("POST", "/repos/team/digits/rulesets"),
    )
    checks = next(rule["parameters"] for rule in main["rules"] if rule["type"] == "required_status_checks")
    assert checks["strict_required_status_checks_policy"] is True
    assert [check["context"] for check in checks["required_status_checks"]] == ["required-checks"]
    assert {rule["type"] for rule in releases["rules"]} == {"deletion", "update"}


def test_gitlab_protects() -> None:
    """What is not protected becomes so, and what GitLab protects by itself gets our rule instead."""
    project = "/projects/team%2Fdigits"
    headers = {"PRIVATE-TOKEN": "t"}
    with stand_in({project: {}}) as stand:
        list(gitlab(Api(stand.address, headers), "team/digits"))
    assert [(method, path) for method, path, _ in stand.changes] == [
        ("PUT", project),
        ("POST", f"{project}/protected_branches"),
        ("POST", f"{project}/protected_tags"),
        ("POST", f"{project}/protected_tags"),
    ]
    assert [body["name"] for _, path, body in stand.changes if path.endswith("tags")] == ["v*", "*@v*"]
    assert stand.changes[0][2]["only_allow_merge_if_pipeline_succeeds"] is True
    with stand_in({project: {}, f"{project}/protected_branches/main": {"name": "main"}}) as stand:
        list(gitlab(Api(stand.address, headers), "team/digits"))
    assert [(method, path.rpartition("/")[2]) for method, path, _ in stand.changes[1:3]] == [
        ("DELETE", "main"),
        ("POST", "protected_branches"),
    ]
    assert stand.changes[2][2]["push_access_level"] == 0


@pytest.mark.parametrize(
    ("token", "repository", "message"), [("x", "team/digits", "Bad credentials"), ("t", "team/none", "not there")]
)
def test_what_is_refused_is_said(token: str, repository: str, message: str) -> None:
    """A wrong token and an unknown repository end with the forge's words and change nothing."""
    with stand_in({"/repos/team/digits/rulesets": []}) as stand:
        with pytest.raises(PipelineError, match=message):
            list(github(Api(stand.address, {"Authorization": f"Bearer {token}"}), repository))
        assert not stand.changes
