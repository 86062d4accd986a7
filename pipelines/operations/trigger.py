"""How a forge is asked to run its job `retrain`: GitLab by a pipeline trigger, GitHub by a repository_dispatch event.

https://docs.gitlab.com/api/pipeline_triggers, https://docs.github.com/rest/repos/repos#create-a-repository-dispatch-event
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipelines.command import PipelineError
from pipelines.delivery.preconditions import MAIN
from pipelines.operations.notification import ACTION, Request

TIMEOUT = (5.0, 15.0)  # seconds to connect, and between two bytes of the answer
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
# A request whose answer was lost may be carried out twice: the second finds the first one's merge request open.
RETRY = Retry(
    total=3,
    backoff_factor=0.5,
    status_forcelist=[429, 500, 502, 503, 504],
    allowed_methods=["POST"],
    raise_on_status=False,
    retry_after_max=10,
)


class ForgeError(PipelineError):
    """The forge did not take it; the message holds no secret."""


@dataclass(frozen=True)
class Forge:
    name: str
    address: str
    secret: str = field(repr=False)

    def start(self, request: Request) -> None:
        """Raise ForgeError when the forge did not take it."""
        variables = request.variables()
        body: dict[str, Any]
        if self.name == "GitHub":
            headers = {"Accept": "application/vnd.github+json", "Authorization": f"Bearer {self.secret}"}
            body = {"event_type": ACTION, "client_payload": variables}
        else:
            headers = {}
            body = {"token": self.secret, "ref": MAIN, "variables": {"RETRAIN": "yes"} | variables}

        def sign(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
            # Headers that requests gets the usual way lose against a password for the host in ~/.netrc.
            prepared.headers.update(headers)
            return prepared

        try:
            with requests.Session() as session:
                for scheme in ("https://", "http://"):
                    session.mount(scheme, HTTPAdapter(max_retries=RETRY))
                answer = session.post(self.address, json=body, auth=sign, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            # Its name only: its words may hold a header with the token.
            raise ForgeError(f"{self.name} cannot be reached: {type(error).__name__}") from None
        if not 200 <= answer.status_code < 300:
            raise ForgeError(f"{self.name} answered {answer.status_code}")


def find(environment: Mapping[str, str]) -> Forge:
    """Return the forge that the environment names. Raises PipelineError unless it is one, with its secret."""
    gitlab, github = environment.get("GITLAB_PROJECT"), environment.get("GITHUB_REPOSITORY")
    if bool(gitlab) == bool(github):
        raise PipelineError("set either GITLAB_PROJECT or GITHUB_REPOSITORY, like team/digits")
    if gitlab:
        api = need(environment, "GITLAB_API_URL")
        path, secret = f"projects/{quote(gitlab, safe='')}/trigger/pipeline", need(environment, "GITLAB_TRIGGER_TOKEN")
    else:
        api = environment.get("GITHUB_API_URL") or "https://api.github.com"
        path, secret = f"repos/{quote(github or '')}/dispatches", need(environment, "GITHUB_TOKEN")
    parts = urlsplit(api)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise PipelineError("the address of the forge's API must begin with https://: a token goes there")
    return Forge("GitLab" if gitlab else "GitHub", f"{api.rstrip('/')}/{path}", secret)


def need(environment: Mapping[str, str], name: str) -> str:
    """Return a variable's value. Raises PipelineError when it has none."""
    if not (value := environment.get(name, "").strip()):
        raise PipelineError(f"{name} is not set")
    return value
