"""The one comment with a model's report on a merge request, and GitHub's job summary.

A comment of a name starts with a line that holds the name and that nobody sees, so that the next report replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from pipelines.review.forge import Comment, Forge, ForgeError, UnsureError
from pipelines.review.forges import find

SUMMARY_LIMIT = 1024 * 1024
"""Bytes of a step's job summary; GitHub drops the whole file when it holds more."""


def post(render: Callable[[int], str], name: str, environment: Mapping[str, str]) -> str:
    """Create or update the one comment of `name` on the merge request, and return one line that says what happened.

    `render` returns the report as Markdown, in at most the characters that it is given. Whatever the forge does, this
    does not raise: a review's verdict does not hang on its comment.
    """
    summary = _summarize(render, environment)
    try:
        forge = find(environment)
        said = (
            "nothing to comment on: this is not the CI of a merge request"
            if forge is None
            else _publish(forge, render, name)
        )
    except ForgeError as error:
        said = f"comment not written: {error}"
    return f"{said}; {summary}" if summary else said


def marker(name: str) -> str:
    """Return the first line of the comments of a name: an HTML comment, different for every name."""
    # Within an HTML comment -- is not allowed; a name from a path may hold half of a surrogate pair.
    encoded = quote(name, safe="", errors="surrogatepass").replace("--", "-%2D")
    return f"<!-- slipway review: {encoded} -->"


def is_marked(body: str, name: str) -> bool:
    return _plain(body).split("\n", 1)[0] == marker(name)


def _publish(forge: Forge, render: Callable[[int], str], name: str) -> str:
    head = f"{marker(name)}\n"
    body = head + render(forge.limit - len(head))
    found = _oldest(forge, name)
    if found is None:
        try:
            forge.create(body)
        except UnsureError:
            found = _oldest(forge, name)
            if found is None:
                raise
        else:
            return f"comment posted on {forge.place}"
    if _plain(found.body or "") == _plain(body):
        return f"comment on {forge.place} is up to date"
    forge.update(found.id, body)
    return f"comment updated on {forge.place}"


def _oldest(forge: Forge, name: str) -> Comment | None:
    ours = (comment for comment in forge.read() if is_marked(comment.body or "", name))
    return min(ours, key=lambda comment: comment.id, default=None)


def _plain(body: str) -> str:
    # Forges are free to change line ends and to drop blank ones at the end.
    return body.replace("\r\n", "\n").rstrip()


def _summarize(render: Callable[[int], str], environment: Mapping[str, str]) -> str:
    path = environment.get("GITHUB_STEP_SUMMARY")
    if environment.get("GITHUB_ACTIONS") != "true" or not path:
        return ""
    try:
        with Path(path).open("ab") as file:
            gap = b"\n\n" if file.tell() else b""
            room = SUMMARY_LIMIT - file.tell() - len(gap) - 1
            report = _fit(render, room)
            if report is None:
                return "the job summary has no room for the report"
            file.write(gap + report + b"\n")
    except (OSError, ValueError) as error:
        return f"the job summary cannot be written: {error}"
    return "the job summary holds the report"


def _fit(render: Callable[[int], str], room: int) -> bytes | None:
    for characters in (room, room // 4):  # a character takes up to four bytes
        if characters > 0:
            report = render(characters).encode(errors="replace")
            if len(report) <= room:
                return report
    return None
