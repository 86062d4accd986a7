"""A release as it is published: a folder of three files, each named once, here."""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from model import ModelError

BUNDLE = "bundle.tar"
"""All that a release is made of, in one archive that can be made again to the byte."""
PROVENANCE = "provenance.json"
"""Of which commit, data and settings it was made, and by whom."""
SIGNATURE = "model.sig"
"""Who vouches for both: OpenSSF Model Signing of the folder."""


def unpack(bundle: Path, folder: Path, most: int, deepest: int | None = None) -> None:
    """Write an archive's files, of `most` bytes together, into a folder; `deepest` leaves out what lies below that.

    Raises ModelError when it is no archive, holds anything but files and folders, or would write elsewhere. What
    Python's own filter does, which its early 3.11 lacks, the one of Debian 12 among them.
    """
    size = 0
    try:
        with tarfile.open(bundle) as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise ModelError(f"{bundle} is no bundle: it holds {member.name!r}")
                content = archive.extractfile(member)
                if content is None or (deepest is not None and len(path.parts) > deepest + 1):
                    continue
                size += member.size
                if size > most:
                    raise ModelError(f"{bundle} unpacks to more than {most:,} bytes")
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                with (folder / path).open("wb") as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise ModelError(f"{bundle} is no bundle: {error}") from error
