"""Tar archives whose bytes depend on names and contents alone: no times, no owners, no modes of somebody's files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from pipelines.command import PipelineError, atomic

LONGEST = 4_000_000_000
"""Bytes that an archive may unpack to."""


def pack(files: Mapping[str, Path | bytes], archive: Path) -> None:
    """Write an archive of files, by their names in it, in order of the names."""
    with atomic(archive) as partial, tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.mode = 0o644
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.size = content.stat().st_size
                with content.open("rb") as file:
                    tar.addfile(member, file)


def unpack(archive: Path, folder: Path) -> None:
    """Write an archive's files into a folder. Raises PipelineError when it is none, or would write elsewhere."""
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            if sum(member.size for member in members) > LONGEST:
                raise PipelineError(f"{archive} unpacks to more than {LONGEST:,} bytes")
            tar.extractall(folder, members, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise PipelineError(f"{archive} is no archive: {error}") from error
