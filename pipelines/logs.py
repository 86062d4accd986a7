"""One JSON line a command, where PIPELINE_LOG names a file: what ran, on what, for whom, when, and how it ended.

PIPELINE_LOG=/var/log/slipway/pipeline.log make
PIPELINE_LOG=/dev/stderr make review

The names are those of the server's lines, from the Elastic Common Schema; docs/logs.md has them all.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

VARIABLE = "PIPELINE_LOG"
DATASET = "slipway.pipeline"
WHO = ("GITLAB_USER_LOGIN", "GITHUB_ACTOR")
LONGEST = 1000
"""Most characters of an error that a line holds."""
NAMES = (
    "@timestamp",
    "log.level",
    "event.dataset",
    "event.action",
    "event.outcome",
    "event.duration",
    "process.exit_code",
    "error.message",
    "user.name",
    "labels.release",
    "labels.environment",
    "labels.verdict",
    "labels.commit",
    "labels.data_md5",
)
_noted: dict[str, str] = {}


def note(**labels: str) -> None:
    """Have the command's line say more: release, environment or verdict."""
    _noted.update({f"labels.{name}": value for name, value in labels.items()})


def write(began: float, code: int, message: str = "") -> None:
    """Write the line of the command that ends, if anybody wants it. Raises OSError when the file cannot be written."""
    if not (path := os.environ.get(VARIABLE)):
        return
    line = {
        "@timestamp": datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "log.level": "error" if code else "info",
        "event.dataset": DATASET,
        "event.action": _action(),
        "event.outcome": "failure" if code else "success",
        "event.duration": int((time.time() - began) * 1e9),
        "process.exit_code": code,
        "error.message": message[:LONGEST],
        "user.name": _who(),
        "labels.commit": _commit(),
        "labels.data_md5": _data(),
    }
    text = json.dumps({name: value for name, value in (line | _noted).items() if value != ""}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, text.encode())  # at once, so that lines of several commands do not mix
    finally:
        os.close(descriptor)


def _action() -> str:
    """Return the command's module without the package that all share, such as `training.train`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name if spec else Path(sys.argv[0]).stem
    return name.removeprefix("pipelines.").removesuffix(".__main__")


def _who() -> str:
    given = [os.environ[name] for name in WHO if os.environ.get(name)]
    try:
        return given[0] if given else getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return str(os.getuid())


def _commit() -> str:
    command = ["git", "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
    return found.stdout.strip() if not found.returncode else ""


def _data() -> str:
    path = Path("data.dvc")
    found = re.search(r"md5: (\S+)", path.read_text()) if path.is_file() else None
    return found[1] if found else ""
