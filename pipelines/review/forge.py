"""The comments on one merge request, through the API of its forge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

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
