"""Which release runs where: one line in environments/<name>/serving.env, and its history in Git.

`RELEASE=v1.2.3` in plain NAME=VALUE lines, as systemd's EnvironmentFile and kustomize read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.command import PipelineError, atomic
from pipelines.delivery import tags
from pipelines.review.repository import content, files, folder, git, is_shallow

FOLDER = Path("environments")
FILE = "serving.env"
LINE = re.compile(r"^RELEASE=(.*)$", re.MULTILINE)
STAGING, PRODUCTION = "staging", "production"
NOTHING = "nothing"
"""What is said to run where no release does."""


@dataclass(frozen=True)
class Change:
    """One commit that made an environment run another release."""

    commit: str
    time: datetime
    author: str
    subject: str
    release: str
    """Empty when none runs from then on."""


def path(environment: str) -> Path:
    """Return an environment's file. Raises PipelineError when there is no such environment."""
    file = FOLDER / environment / FILE
    if not re.fullmatch(r"[a-z0-9-]+", environment) or not file.is_file():
        known = " or ".join(sorted(f"ENV={each.parent.name}" for each in FOLDER.glob(f"*/{FILE}")))
        raise PipelineError(f"there is no environment {environment!r}: say {known}")
    return file


def current(environment: str) -> str:
    """Return the release that an environment is to run, empty when it has none."""
    file = path(environment)
    return release_of(file.read_text(), str(file))


def running(revision: str) -> dict[str, str]:
    """Return the release of each environment, as a revision has it."""
    inside = f"{folder()}{FOLDER}/"
    found = {}
    for name in files(revision, FILE):
        if name.startswith(inside):
            text = (content(revision, name.removeprefix(folder())) or b"").decode(errors="replace")
            found[Path(name).parent.name] = release_of(text, f"{name} at {revision}")
    return found


def release_of(text: str, where: str) -> str:
    """Return the release that a file's text names. Raises PipelineError when it does not in one line, or no release."""
    found = LINE.findall(text)
    if len(found) != 1:
        raise PipelineError(f"{where} has {len(found)} lines RELEASE=..., expected one")
    if found[0]:
        tags.parse(found[0])
    return str(found[0])


def commit(environment: str, release: str, message: str) -> None:
    """Write the release into the environment's file and commit that, and nothing else that may have changed."""
    file = path(environment)
    if git("status", "--porcelain", "--", str(file)):
        raise PipelineError(f"{file} has changes that are not committed: commit or restore them first")
    text = LINE.sub(f"RELEASE={release}", file.read_text())
    with atomic(file) as partial:
        partial.write_text(text)
    try:
        git("commit", "--quiet", "--only", "--message", message, "--", str(file))
    except PipelineError:
        git("checkout", "--quiet", "HEAD", "--", str(file))
        raise


def history(environment: str, revision: str = "HEAD") -> list[Change]:
    """Return what an environment ran, the newest first, as the commits up to a revision have it.

    Raises PipelineError in a shallow clone, which does not know.
    """
    file = path(environment)
    if is_shallow():
        raise PipelineError("this clone is shallow and does not know what ran: `git fetch --unshallow`")
    form = "--format=%H%x00%aI%x00%an%x00%s"
    changes: list[Change] = []
    for line in git("log", "--first-parent", "--reverse", form, revision, "--", str(file)).splitlines():
        number, time, author, subject = line.split("\0")
        text = (content(number, str(file)) or b"").decode(errors="replace")
        release = "".join(LINE.findall(text)[:1])
        if release != (changes[-1].release if changes else ""):
            changes.append(Change(number, datetime.fromisoformat(time), author, subject, release))
    return changes[::-1]


def previous(environment: str) -> str | None:
    """Return the release that ran before the one that runs, None without any; where nothing runs, the last that did."""
    found = standing(change.release for change in reversed(history(environment)))
    if current(environment):
        found = found[:-1]
    return found[-1] if found else None


def standing(ran: Iterable[str]) -> list[str]:
    """Return the releases that were not taken back, what runs last: after v1, v2, v3 and back to v2, v1 and v2."""
    found: list[str] = []
    for release in ran:
        if release in found:
            del found[found.index(release) + 1 :]
        elif release:
            found.append(release)
    return found
