"""The packages that a server or a job needs, as the files that uv.lock pins, for every kind of host.

A wheel is taken as it was published: its hash is in the lock, in the release's requirements and in its list of parts,
so that three places tell when one was changed on its way.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from pipelines.command import PipelineError
from pipelines.delivery.settings import Hosts

OLDEST, NEWEST = 17, 28
"""Minor versions of glibc 2 whose wheels run on every host that is supported: 2.28 is Debian 10's and RHEL 8's."""
LOCKED = ("--locked", "--quiet", "--no-emit-project", "--no-annotate", "--no-header")


def requirements(group: str, project: Path = Path(), without: Iterable[str] = ()) -> str:
    """Return what a project's uv.lock pins for a dependency group, with a hash for each file, as pip reads it.

    Packages to do without are left out, and those that only they need.
    """
    pruned = [f"--prune={name}" for name in without]
    command = ["uv", "export", *LOCKED, "--project", str(project), "--only-group", group, *pruned]
    return _run(*command, "--format", "requirements.txt")


def download(needed: str, hosts: Hosts, folder: Path) -> None:
    """Put the wheels of requirements for every kind of host into a folder. Raises PipelineError."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder.with_name("host.txt")
    listed.write_text(needed)
    for python in hosts.python:
        for machine in hosts.machine:
            print(f"  packages for Python {python} on {machine}", flush=True)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary=:all:", "--require-hashes", "--implementation=cp", f"--python-version={python}"]
            command += [f"--platform={platform}" for platform in platforms(machine)]
            _run(*command, f"--requirement={listed}", f"--dest={folder}")


def platforms(machine: str) -> list[str]:
    """Return the platform tags of a kind of processor, the best first (PEP 600, PEP 599)."""
    return [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST, OLDEST - 1, -1)] + [f"manylinux2014_{machine}"]


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
    if result.returncode:
        raise PipelineError(f"packages cannot be had: {result.stderr.strip()[-1000:]}")
    return result.stdout
