"""Tar archives whose bytes depend on names and contents alone: no times, no owners, no modes of somebody's files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from pipelines.command import atomic


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
