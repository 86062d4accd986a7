"""GitHub and GitLab as a review needs them: the comments on the merge request that a CI job runs for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipelines.command import PipelineError

CONNECT_TIMEOUT = 5.0  # seconds, as all times here
READ_TIMEOUT = 15.0
BACKOFF = 1.0
LONGEST_WAIT = 20  # whatever Retry-After asks for; GitHub's usual minute is three of these
RETRIES = 3
PAGES = 100


class ForgeError(PipelineError):
    """The forge did not do it; the message says what happened and what would help."""


class UnsureError(ForgeError):
    """The forge may have done it all the same."""


class Comment(msgspec.Struct):
    id: int
    body: str | None = None
    system: bool = False  # written by GitLab itself, about an event


class _PullRequest(msgspec.Struct):
    number: int


class _Event(msgspec.Struct):
    pull_request: _PullRequest | None = None


class _Retry(Retry):
    RETRY_AFTER_STATUS_CODES = frozenset({429})  # urllib3's 503 would send a POST again that was carried out


@dataclass(frozen=True)
class Forge:
    name: str
    place: str  # the merge request, in the forge's own words
    comments: str  # the address that lists comments and takes new ones
    comment: str  # the address of one, without its number
    method: str  # what changes one
    limit: int  # characters in one
    address: str  # the variables that the addresses come from
    access: str  # what the token must be
    token: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def read(self) -> Iterator[Comment]:
        """Yield what people and programs wrote, in the forge's order."""
        address = f"{self.comments}?per_page=100"
        for _ in range(PAGES):
            response = self._send("GET", address)
            try:
                found = msgspec.json.decode(response.content, type=list[Comment])
                link = urljoin(address, response.links.get("next", {}).get("url", ""))
                elsewhere = urlsplit(link)[:2] != urlsplit(self.comments)[:2]
            except ValueError:
                raise ForgeError(f"{self.name} did not answer with comments: check {self.address}") from None
            yield from (comment for comment in found if not comment.system)
            if "next" not in response.links:
                return
            if elsewhere:
                raise ForgeError(f"{self.name} sends to another host, which gets no token: check {self.address}")
            address = link
        raise ForgeError(f"{self.place} has more than {PAGES} pages of comments: delete some, or open another")

    def create(self, body: str) -> None:
        """Raise UnsureError when the comment may be there nevertheless: look before trying again."""
        self._send("POST", self.comments, body)

    def update(self, number: int, body: str) -> None:
        self._send(self.method, f"{self.comment}/{number}", body)

    def _send(self, method: str, address: str, body: str | None = None) -> requests.Response:
        adapter = HTTPAdapter(max_retries=_retries(method))
        try:
            with requests.Session() as session:
                session.mount("https://", adapter)
                session.mount("http://", adapter)
                response = session.request(
                    method,
                    address,
                    json=None if body is None else {"body": body},
                    auth=self._sign,
                    timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                    allow_redirects=False,  # to another host GitLab's token would go along
                )
        except Exception as error:  # noqa: BLE001 (requests lets through whatever its parts raise)
            # Their names only: their words may hold a header with the token, or an address with a password.
            kind = type(getattr(next(iter(error.args), None), "reason", error)).__name__
            raise UnsureError(
                f"{self.name} gave no answer ({kind}): check {self.address}, network and proxy, then run the job again"
            ) from None
        if not 200 <= response.status_code < 300:
            failure = UnsureError if response.status_code >= 500 else ForgeError
            raise failure(self._explain(method, response))
        return response

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Headers that requests gets the usual way lose against a password for the host in ~/.netrc.
        request.headers.update(self.headers)
        return request

    def _explain(self, method: str, response: requests.Response) -> str:
        status, headers = response.status_code, response.headers
        # GitHub says 403 of too many requests, too.
        spent = status == 403 and ("Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0")
        if status == 429 or spent:
            advice = "too many requests: run the job again later"
        elif status >= 500:
            advice = "run the job again when it is well"
        elif status < 400:
            advice = f"the project or the API has moved: check {self.address}"
        elif status == 401:
            advice = f"the token is wrong or has expired: {self.access}"
        elif status == 403 and method == self.method:
            advice = f"{self.access}; a comment that another account wrote must be deleted first"
        elif status == 403:
            advice = self.access
        elif status == 404:
            advice = f"not there, or not to be seen with this token: check {self.address}; {self.access}"
        else:
            advice = f"{self.place} does not take this comment: read the report in the job's log"
        return f"{self.name} answered {status}{self._reason(response)}: {advice}"

    def _reason(self, response: requests.Response) -> str:
        try:
            said = msgspec.json.decode(response.content)["message"]
        except (ValueError, LookupError, TypeError):
            return ""
        return f" ({' '.join(str(said).replace(self.token, '***').split())[:200]})"


def find(environment: Mapping[str, str]) -> Forge | None:
    """Return the forge of this CI job's merge request, None without one. Raises ForgeError when it cannot be had."""
    if environment.get("GITHUB_ACTIONS") == "true":
        number = _pull_request(environment)
        return None if number is None else _github(environment, number)
    if environment.get("GITLAB_CI") == "true" and environment.get("CI_MERGE_REQUEST_IID"):
        return _gitlab(environment, environment["CI_MERGE_REQUEST_IID"])
    return None


def _github(environment: Mapping[str, str], number: int) -> Forge:
    access = (
        "the job needs `permissions: pull-requests: write` and the step `GITHUB_TOKEN: ${{ github.token }}`; "
        "a pull request from a fork gets a read-only token"
    )
    token = _token(environment, "GITHUB_TOKEN", access)
    api = environment.get("GITHUB_API_URL") or "https://api.github.com"
    issues = f"{api.rstrip('/')}/repos/{quote(_need(environment, 'GITHUB_REPOSITORY'))}/issues"
    return Forge(
        name="GitHub",
        place=f"pull request {number}",
        comments=f"{issues}/{number}/comments",
        comment=f"{issues}/comments",
        method="PATCH",
        limit=65_536,
        address="GITHUB_API_URL and GITHUB_REPOSITORY",
        access=access,
        token=token,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )


def _gitlab(environment: Mapping[str, str], number: str) -> Forge:
    access = (
        "the masked variable GITLAB_TOKEN must hold a project access token with role Reporter and scope `api`; "
        "merge requests get no protected variables, and those from a fork get the fork's"
    )
    token = _token(environment, "GITLAB_TOKEN", access)
    # A fork's pipeline may run in the fork; the merge request is in the project that it targets.
    project = environment.get("CI_MERGE_REQUEST_PROJECT_ID") or _need(environment, "CI_PROJECT_ID")
    projects = f"{_need(environment, 'CI_API_V4_URL').rstrip('/')}/projects"
    notes = f"{projects}/{quote(project, safe='')}/merge_requests/{quote(number, safe='')}/notes"
    return Forge(
        name="GitLab",
        place=f"merge request {number}",
        comments=notes,
        comment=notes,
        method="PUT",
        limit=1_000_000,
        address="CI_API_V4_URL and CI_MERGE_REQUEST_PROJECT_ID",
        access=access,
        token=token,
        headers={"PRIVATE-TOKEN": token},
    )


def _pull_request(environment: Mapping[str, str]) -> int | None:
    ref = re.fullmatch(r"refs/pull/([0-9]+)/\w+", environment.get("GITHUB_REF", ""))
    number = int(ref[1]) if ref else None
    try:
        event = msgspec.json.decode(Path(environment["GITHUB_EVENT_PATH"]).read_bytes(), type=_Event)
    except KeyError:
        return number
    except (OSError, ValueError) as error:
        if number is None:
            raise ForgeError(f"GITHUB_EVENT_PATH is not an event that can be read: {error}") from error
        return number
    return event.pull_request.number if event.pull_request else number


def _need(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise ForgeError(f"{name} is not set: the CI sets it, so pass it on to this command")
    return environment[name]


def _token(environment: Mapping[str, str], name: str, access: str) -> str:
    token = environment.get(name, "").strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise ForgeError(f"{name} is {'no token' if token else 'not set'}: {access}")
    return token


def _retries(method: str) -> Retry:
    # A POST whose answer is lost may have been carried out; 429 says that it was not.
    once = method == "POST"
    return _Retry(
        total=RETRIES,
        read=False if once else None,
        other=0 if once else None,
        allowed_methods=[method],
        status_forcelist=[429] if once else [429, 500, 502, 503, 504],
        raise_on_status=False,
        backoff_factor=BACKOFF,
        retry_after_max=LONGEST_WAIT,
    )
