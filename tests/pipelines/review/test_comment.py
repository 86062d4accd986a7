"""The comment of a review, against stand-ins for the APIs of GitHub and GitLab."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given
from hypothesis import strategies as st

from pipelines.review import forge as client
from pipelines.review.comment import SUMMARY_LIMIT, is_marked, marker, post
from tests.pipelines.review.forge import Fault, Forge, GitHub, GitLab, serve

NAME = "digits"
HOUR = {"Retry-After": "3600"}


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, and neither proxy nor passwords of this machine."""
    monkeypatch.setattr(client, "BACKOFF", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("NETRC", "/dev/null")


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.2)


@pytest.fixture(params=[GitHub, GitLab])
def forge(request: pytest.FixtureRequest) -> Iterator[Forge]:
    with serve(request.param) as running:
        yield running


@pytest.fixture
def github() -> Iterator[Forge]:
    with serve(GitHub) as running:
        yield running


@pytest.fixture
def gitlab() -> Iterator[Forge]:
    with serve(GitLab) as running:
        yield running


@dataclass(frozen=True)
class Review:
    """A job for the merge request."""

    folder: Path

    def __call__(self, forge: Forge, report: str = "# Better", name: str = NAME, **variables: str | None) -> str:
        """Post a report and return the line; a variable that is None is not set."""
        environment = forge.environment(self.folder) | variables
        line = post(lambda limit: report[:limit], name, {key: value for key, value in environment.items() if value})
        assert "\n" not in line
        assert "SECRET" not in line
        return line

    @property
    def summary(self) -> Path:
        return self.folder / "summary.md"


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return Review(tmp_path)


def body(report: str = "# Better", name: str = NAME) -> str:
    return f"{marker(name)}\n{report}"


def test_first_report_is_a_new_comment(forge: Forge, review: Review) -> None:
    """A comment of the hidden line and the report; other comments stay as they are."""
    forge.add("Nice work")
    assert "comment posted on" in review(forge)
    assert forge.bodies() == ["Nice work", body()]


def test_next_report_changes_the_same_comment(forge: Forge, review: Review) -> None:
    """However often a branch is pushed, there is one comment, with the last report."""
    for report in ("# First", "# Second", "# Third"):
        review(forge, report)
    assert forge.bodies() == [body("# Third")]
    assert (forge.count("POST"), forge.count(forge.update)) == (1, 2)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_same_report_is_not_written_again(forge: Forge, review: Review, line_end: str) -> None:
    """Nobody is notified of nothing, nor because the forge keeps other line ends."""
    forge.line_end = line_end
    review(forge, "# Better\n\n- by far\n")
    assert "up to date" in review(forge, "# Better\n\n- by far\n")
    assert [method for method, _ in forge.requests] == ["GET", "POST", "GET"]


def test_names_have_comments_of_their_own(forge: Forge, review: Review) -> None:
    """The reports of two models stand side by side, also when one's name is the start of the other's."""
    for report in ("# 1", "# 2"):
        for name in ("a", "a b", "a -->\n"):
            review(forge, f"{report} of {name}", name)
    assert forge.bodies() == [body(f"# 2 of {name}", name) for name in ("a", "a b", "a -->\n")]


def test_comment_is_found_on_the_last_page(forge: Forge, review: Review) -> None:
    """A long discussion does not make a second comment."""
    bodies = [body("# Old"), *(f"remark {number}" for number in range(249))]
    for text in bodies if forge.newest_first else bodies[::-1]:
        forge.add(text)
    assert "comment updated" in review(forge)
    assert forge.bodies().count(body()) == 1
    assert (forge.count("GET"), forge.count("POST")) == (3, 0)


@pytest.mark.parametrize("start", ["> ", "I saw this:\n", " "])
def test_comment_that_quotes_ours_is_not_ours(forge: Forge, review: Review, start: str) -> None:
    """Who quotes a report keeps the own words."""
    forge.add(start + body("# Old"))
    assert "comment posted" in review(forge)
    assert forge.bodies() == [start + body("# Old"), body()]


def test_event_is_not_a_comment(gitlab: Forge, review: Review) -> None:
    """What GitLab notes by itself is not ours, whatever it says."""
    gitlab.add(body("# Old"), system=True)
    assert "comment posted" in review(gitlab)


def test_oldest_of_several_is_updated(forge: Forge, review: Review) -> None:
    """Of two comments, as two jobs at the same moment may write, the same one is updated each time."""
    for report in ("# 1", "# 2"):
        forge.add(body(report))
    review(forge)
    assert forge.bodies() == [body(), body("# 2")]


@pytest.mark.parametrize("length", [-1, 0, 1])
def test_comment_is_never_too_long(forge: Forge, review: Review, length: int) -> None:
    """The report gets what the hidden line leaves of the forge's limit."""
    review(forge, "ä" * (forge.limit - len(body("")) + length))
    assert len(forge.bodies()[0]) == forge.limit + min(length, 0)


@pytest.mark.parametrize("token", [None, " \n", "two words-SECRET", "schlüssel-SECRET"])
def test_missing_token_is_named(forge: Forge, review: Review, token: str | None) -> None:
    """Without a token nothing is asked, and the line says which variable and which permission it takes."""
    line = review(forge, **{forge.variable: token})
    assert forge.variable in line
    assert forge.access in line
    assert not forge.requests


def test_token_with_a_line_end_works(forge: Forge, review: Review) -> None:
    """A secret that was pasted with its line end is the same secret."""
    assert "comment posted" in review(forge, **{forge.variable: f"{forge.token}\n"})


def test_password_file_does_not_replace_the_token(
    forge: Forge, review: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A .netrc with a password for Git on the same host leaves the API's token alone."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ci password other")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert "comment posted" in review(forge)


def test_wrong_token(forge: Forge, review: Review) -> None:
    """401 is told as a wrong token, with what the right one would be."""
    line = review(forge, **{forge.variable: "guess-SECRET"})
    assert "answered 401" in line
    assert forge.access in line


@pytest.mark.parametrize("earlier", [[], [body("# Old")]])
def test_token_that_may_only_read(forge: Forge, review: Review, earlier: list[str]) -> None:
    """403, as a fork's pull request gets it, is told as a permission, with the forge's reason; the summary is there."""
    forge.read_only = True
    for text in earlier:
        forge.add(text)
    line = review(forge)
    assert "answered 403" in line
    assert "Resource not accessible by integration" in line
    assert forge.access in line
    assert "fork" in line
    assert ("another account" in line) == bool(earlier)
    assert forge.bodies() == earlier
    if isinstance(forge, GitHub):
        assert line.endswith("; the job summary holds the report")
        assert review.summary.read_text() == "# Better\n"


def test_wrong_address(forge: Forge, review: Review) -> None:
    """404 names the variables that the address comes from, and the permission without which nothing is to be seen."""
    line = review(forge, GITHUB_REPOSITORY="team/renamed", CI_MERGE_REQUEST_PROJECT_ID="43")
    assert "answered 404" in line
    assert "GITHUB_REPOSITORY" in line or "CI_MERGE_REQUEST_PROJECT_ID" in line
    assert forge.access in line


def test_refused_text(forge: Forge, review: Review) -> None:
    """422 sends to the log."""
    forge.faults["POST"] = [Fault(422)]
    assert "answered 422 (injected)" in review(forge)
    assert forge.count("POST") == 1


@pytest.mark.parametrize("method", ["GET", "POST", "update"])
def test_request_too_many(forge: Forge, review: Review, method: str) -> None:
    """429 says that nothing was done, so that everything is tried again."""
    if method == "update":
        method = forge.update
        forge.add(body("# Old"))
    forge.faults[method] = [Fault(429)]
    assert "comment not written" not in review(forge)
    assert forge.bodies() == [body()]
    assert forge.count(method) == 2


def test_short_wait_is_waited(github: Forge, review: Review) -> None:
    """A forge that asks for a second gets it."""
    github.faults["POST"] = [Fault(429, {"Retry-After": "1"})]
    start = time.monotonic()
    assert "comment posted" in review(github)
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_long_wait_is_not_waited(forge: Forge, review: Review, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 with an hour to wait ends after the longest wait, and a minute at most, with a word about it."""
    assert client.RETRIES * client.LONGEST_WAIT <= 60
    monkeypatch.setattr(client, "LONGEST_WAIT", 0.05)
    forge.faults[method] = [Fault(429, HOUR)] * 10
    line = review(forge)
    assert "answered 429" in line
    assert "too many requests" in line
    assert forge.count(method) == 1 + client.RETRIES


@pytest.mark.parametrize("headers", [HOUR, {"X-RateLimit-Remaining": "0"}])
def test_403_of_too_many_requests(github: Forge, review: Review, headers: dict[str, str]) -> None:
    """GitHub's other way to say 429 is not mistaken for a missing permission."""
    github.faults["GET"] = [Fault(403, headers)]
    assert "too many requests" in review(github)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "update"])
def test_passing_fault(forge: Forge, review: Review, method: str, status: int) -> None:
    """What can be repeated without harm is repeated."""
    forge.add(body("# Old"))
    method = forge.update if method == "update" else method
    forge.faults[method] = [Fault(status), Fault(status, dropped=True)]
    assert "comment updated" in review(forge)
    assert forge.bodies() == [body()]
    assert forge.count(method) == 3


@pytest.mark.parametrize("method", ["GET", "update"])
def test_lasting_fault(forge: Forge, review: Review, method: str) -> None:
    """A forge that stays broken ends the tries, with its status."""
    forge.add(body("# Old"))
    method = forge.update if method == "update" else method
    forge.faults[method] = [Fault(500)] * 10
    assert f"{forge.name} answered 500 (injected)" in review(forge)
    assert forge.count(method) == 1 + client.RETRIES


LOST = [
    Fault(500, applied=True),
    Fault(503, {"Retry-After": "1"}, applied=True),
    Fault(silent=True, applied=True),
    Fault(dropped=True, applied=True),
]


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("fault", LOST)
def test_lost_answer_makes_no_second_comment(forge: Forge, review: Review, fault: Fault) -> None:
    """A comment that was written although the forge said otherwise, or nothing, is found and updated the next time."""
    forge.faults["POST"] = [fault]
    assert "up to date" in review(forge)
    assert "comment updated" in review(forge, "# Best")
    assert forge.bodies() == [body("# Best")]


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("fault", [Fault(500), Fault(silent=True), Fault(dropped=True)])
def test_failed_write_is_not_tried_again(forge: Forge, review: Review, fault: Fault) -> None:
    """A comment that is not there may still come, so that there is no second try before the next run."""
    forge.faults["POST"] = [fault]
    line = review(forge)
    assert "comment not written" in line
    assert "run the job again" in line
    assert [method for method, _ in forge.requests] == ["GET", "POST", "GET"]
    assert "comment posted" in review(forge)


@pytest.mark.usefixtures("impatience")
def test_silent_forge(forge: Forge, review: Review) -> None:
    """A forge that takes the request and says nothing ends the tries."""
    forge.faults["GET"] = [Fault(silent=True)] * 10
    assert "gave no answer (ReadTimeoutError)" in review(forge)
    assert forge.count("GET") == 1 + client.RETRIES


def test_absent_forge(forge: Forge, review: Review) -> None:
    """A forge that is not reached is told with the variable that its address comes from."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        line = review(forge, GITHUB_API_URL=origin, CI_API_V4_URL=origin)
    assert "gave no answer (NewConnectionError)" in line
    assert "GITHUB_API_URL" in line or "CI_API_V4_URL" in line


@pytest.mark.parametrize("address", ["nonsense", "http://[", "ftp://127.0.0.1", "http://user:SECRET@[::1"])
def test_address_that_is_none(forge: Forge, review: Review, address: str) -> None:
    """A wrong address is a line, and a password in it is not told."""
    assert "gave no answer" in review(forge, GITHUB_API_URL=address, CI_API_V4_URL=address)


@pytest.mark.parametrize("kind", [GitHub, GitLab])
def test_unknown_certificate(kind: type[Forge], review: Review, tmp_path: Path) -> None:
    """Who is not who the address says gets neither token nor report."""
    with serve(kind, tmp_path / "certificate.pem") as forge:
        assert "gave no answer (SSLError)" in review(forge)
        assert not forge.requests


@pytest.mark.parametrize("kind", [GitHub, GitLab])
def test_connection_torn_under_tls(
    kind: type[Forge], review: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of TLS, which urllib3 counts as none of the connection, does not send a comment twice either."""
    certificate = tmp_path / "certificate.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serve(kind, certificate) as forge:
        forge.faults["POST"] = [Fault(garbled=True, applied=True)]
        assert "up to date" in review(forge)
        assert forge.bodies() == [body()]
        assert forge.count("POST") == 1


def test_missing_certificates(forge: Forge, review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates that are not there are a line too."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/missing.pem")
    assert "gave no answer (OSError)" in review(forge, GITHUB_API_URL="https://[::1]", CI_API_V4_URL="https://[::1]")


@pytest.mark.parametrize("content", [b"<html>", b"", b"{}", b"[1]", b'[{"body": "x"}]', b"[\xff]", b"[" * 100_000])
def test_answer_that_is_none(forge: Forge, review: Review, content: bytes) -> None:
    """A login page in place of comments is told as such, and nothing is written."""
    forge.faults["GET"] = [Fault(200, content=content)]
    assert "did not answer with comments" in review(forge)
    assert forge.count("POST") == 0


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"message": null}', b'{"error": "x"}', b"\xff"])
def test_refusal_in_any_format(forge: Forge, review: Review, content: bytes) -> None:
    """The status is told whatever comes with it."""
    forge.faults["GET"] = [Fault(403, content=content)]
    assert "answered 403" in review(forge)


def test_token_in_a_refusal_is_not_told(forge: Forge, review: Review) -> None:
    """A forge that repeats the token, over several lines, does not put it into the log."""
    words = json.dumps({"message": f"no:\n{forge.token} is\nnot known"})
    forge.faults["GET"] = [Fault(403, content=words.encode())]
    assert "(no: *** is not known)" in review(forge)


@pytest.mark.parametrize("method", ["GET", "POST", "update"])
def test_redirect_gets_no_token(forge: Forge, review: Review, method: str) -> None:
    """Neither token nor report follow a forge that sends elsewhere."""
    if method == "update":
        forge.add(body("# Old"))
        method = forge.update
    with serve(type(forge)) as other:
        forge.faults[method] = [Fault(307, {"Location": f"{other.origin}{forge.listing}"})]
        line = review(forge)
    assert "answered 307" in line
    assert "has moved" in line
    assert not other.requests


def test_next_page_elsewhere_gets_no_token(forge: Forge, review: Review) -> None:
    """A next page on another host is not asked for, and nothing is written without it."""
    with serve(type(forge)) as other:
        link = f'<{other.origin}{forge.listing}?page=2>; rel="next"'
        forge.faults["GET"] = [Fault(200, {"Link": link}, b"[]")]
        assert "another host" in review(forge)
    assert not other.requests
    assert forge.count("POST") == 0


def test_pages_without_end(forge: Forge, review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """A next page that leads in a circle is left."""
    monkeypatch.setattr(client, "PAGES", 5)
    forge.faults["GET"] = [Fault(200, {"Link": f'<{forge.listing}>; rel="next"'}, b"[]")] * 10
    assert "more than 5 pages" in review(forge)


def test_no_merge_request(forge: Forge, review: Review) -> None:
    """A person's own shell and the CI of a branch have nothing to comment on."""
    assert "nothing to comment on" in review(forge, GITHUB_ACTIONS=None, GITLAB_CI=None)
    (review.folder / "push.json").write_text('{"ref": "refs/heads/main"}')
    event = str(review.folder / "push.json")
    line = review(forge, GITHUB_EVENT_PATH=event, GITHUB_REF="refs/heads/main", CI_MERGE_REQUEST_IID=None)
    assert "nothing to comment on" in line
    assert not forge.requests


@pytest.mark.parametrize(
    ("forge", "variable"), [(GitHub, "GITHUB_REPOSITORY"), (GitLab, "CI_API_V4_URL")], indirect=["forge"]
)
def test_missing_variable_is_named(forge: Forge, review: Review, variable: str) -> None:
    """What the CI always sets is named when a container or a shell lost it."""
    assert f"{variable} is not set" in review(forge, **{variable: None})


def test_project_of_a_merge_request(gitlab: Forge, review: Review) -> None:
    """The target's comments are meant, and without forks target and project are the same."""
    assert "comment posted" in review(gitlab, CI_PROJECT_ID="4711", CI_MERGE_REQUEST_PROJECT_ID="42")
    assert "up to date" in review(gitlab, CI_PROJECT_ID="42", CI_MERGE_REQUEST_PROJECT_ID=None)


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", '{"pull_request": {"number": "7"}}', '{"pull_request": null}']
)
def test_number_from_the_ref(github: Forge, review: Review, content: str | None) -> None:
    """An event that is missing or of no use leaves the ref to say which pull request it is."""
    event = review.folder / "other.json"
    if content is not None:
        event.write_text(content)
    assert "comment posted on pull request 7" in review(github, GITHUB_EVENT_PATH=str(event))


def test_number_from_the_event(github: Forge, review: Review) -> None:
    """With pull_request_target the ref is the target branch."""
    assert "comment posted on pull request 7" in review(github, GITHUB_REF="refs/heads/main")


def test_number_from_nowhere(github: Forge, review: Review) -> None:
    """Without ref and event the line says what could not be read."""
    line = review(github, GITHUB_EVENT_PATH="/missing.json", GITHUB_REF=None)
    assert "GITHUB_EVENT_PATH" in line
    assert "/missing.json" in line


def test_summary_keeps_what_is_there(github: Forge, review: Review) -> None:
    """Reports come after what other commands wrote in the same step, each with lines of its own."""
    review.summary.write_text("built")
    review(github, "# One")
    review(github, "# Two", GITHUB_EVENT_PATH=None, GITHUB_REF="refs/heads/main")
    assert review.summary.read_text() == "built\n\n# One\n\n\n# Two\n"


@pytest.mark.parametrize("letter", ["x", "ä", "😀", "\ud800"])
@pytest.mark.parametrize("there", [0, SUMMARY_LIMIT - 1000, SUMMARY_LIMIT - 3, SUMMARY_LIMIT, SUMMARY_LIMIT + 1])
def test_summary_is_never_too_long(github: Forge, review: Review, letter: str, there: int) -> None:
    """GitHub drops a summary that is too long, so that it takes what fits, in bytes."""
    review.summary.write_bytes(b"-" * there)
    line = review(github, letter * (SUMMARY_LIMIT + 1), GITHUB_EVENT_PATH=None, GITHUB_REF=None)
    size = review.summary.stat().st_size
    if there < SUMMARY_LIMIT - 3:
        assert "the job summary holds the report" in line
        assert there < size <= SUMMARY_LIMIT
    else:
        assert "no room" in line
        assert size == there


def test_summary_that_cannot_be_written(github: Forge, review: Review) -> None:
    """The comment comes without the summary, too."""
    line = review(github, GITHUB_STEP_SUMMARY="/missing/summary.md")
    assert "comment posted" in line
    assert "the job summary cannot be written" in line


PIECES = [
    "a",
    " ",
    "-",
    "--",
    "-->",
    "--!>",
    "<!--",
    ">",
    "\n",
    "\r",
    "\u2028",
    "%",
    "%2D",
    "\ud83d",
    "\ude00",
    "ä",
    "/",
]
NAMES = st.text(st.characters()) | st.lists(st.sampled_from(PIECES)).map("".join)


@given(NAMES, NAMES)
def test_marks_of_two_names_differ(name: str, other: str) -> None:
    """A comment belongs to exactly one name."""
    assert is_marked(body(name=name), name)
    assert is_marked(body(name=name).replace("\n", "\r\n"), name)
    assert is_marked(body(name=name), other) == (name == other)


class Comments(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.handle_starttag = self.handle_data = self.handle_decl = self.unexpected

    def handle_comment(self, data: str) -> None:
        self.found.append(data)

    def unexpected(self, *_: object) -> None:
        raise AssertionError


@given(NAMES)
def test_mark_is_not_seen(name: str) -> None:
    """Whatever the name, the first line is one HTML comment, to a browser and in Markdown, and hides nothing else."""
    line = marker(name)
    assert line.isascii()
    assert line.isprintable()
    parser = Comments()
    parser.feed(line)
    parser.close()
    assert parser.found == [line.removeprefix("<!--").removesuffix("-->")]
    assert "--" not in parser.found[0]
    rendered = cmarkgfm.github_flavored_markdown_to_html(f"{line}\n# Better", Options.CMARK_OPT_UNSAFE)
    assert rendered == f"{line}\n<h1>Better</h1>\n"
