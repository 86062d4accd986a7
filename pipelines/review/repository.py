"""What Git knows of other revisions, asked of its command line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from pipelines.command import PipelineError


def git(*arguments: str) -> str:
    """Return what a command printed. Raises PipelineError with Git's own words when it fails."""
    result = _call(*arguments)
    if result.returncode:
        raise PipelineError(f"git {' '.join(arguments)}: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout.decode(errors="replace")


def commit(revision: str) -> str | None:
    """Return the full hash of a revision, or None when there is no such commit."""
    result = _call("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return result.stdout.decode().strip() if revision and result.returncode == 0 else None


def commits() -> int:
    """Return how many commits there are in all branches."""
    return len(git("rev-list", "--all", "HEAD").split()) if commit("HEAD") else 0


def content(revision: str, path: str) -> bytes | None:
    """Return a file of the project at a revision, or None when it is not there."""
    result = _call("show", f"{revision}:./{path}")
    return result.stdout if result.returncode == 0 else None


def document(revision: str, path: str) -> dict[str, Any] | None:
    """Return a YAML file of the project at a revision, or None when it is not there or no mapping."""
    data = content(revision, path)
    try:
        loaded = yaml.load(data, yaml.CSafeLoader) if data is not None else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} at {revision} is not YAML: {error}") from error
    return loaded if isinstance(loaded, dict) else None


def files(revision: str, name: str) -> list[str]:
    """Return the paths, from the root of the repository, of all files of a name at a revision."""
    paths = git("ls-tree", "-r", "-z", "--full-tree", "--name-only", revision).split("\0")
    return [path for path in paths if Path(path).name == name]


def blobs(hashes: set[str]) -> list[bytes]:
    """Return the contents of objects, all at once: histories are long."""
    result = _call("cat-file", "--batch", given="\n".join(sorted(hashes)).encode())
    if result.returncode:
        raise PipelineError(f"git cat-file: {result.stderr.decode(errors='replace').strip()}")
    found, rest = [], result.stdout
    while rest:  # `<hash> blob <size>`, the content, a newline, and again
        header, _, rest = rest.partition(b"\n")
        size = int(header.split()[-1])
        found.append(rest[:size])
        rest = rest[size + 1 :]
    return found


def remote() -> str | None:
    """Return the name of the repository that a team shares: origin, else the first remote, None without any."""
    names = git("remote").split()
    return "origin" if "origin" in names else next(iter(names), None)


def root() -> Path:
    return Path(git("rev-parse", "--show-toplevel").rstrip("\n"))


def folder() -> str:
    """Return the project's folder in the repository, with a slash at its end; empty when it is the root."""
    return git("rev-parse", "--show-prefix").rstrip("\n")


def is_behind(commit: str, path: str) -> bool:
    """Say whether a commit has changes of a path that this working tree's history lacks."""
    return bool(git("rev-list", "--max-count=1", f"HEAD..{commit}", "--", path))


def is_shallow() -> bool:
    return git("rev-parse", "--is-shallow-repository").strip() == "true"


def _call(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["git", *arguments]
    try:
        return subprocess.run(command, input=given, capture_output=True, check=False)  # noqa: S603 (of the PATH)
    except FileNotFoundError:
        raise PipelineError("git is not installed: a review compares with another revision") from None
