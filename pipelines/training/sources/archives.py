"""Archives of images, read without unpacking them to disk."""

from __future__ import annotations

import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from model.inputs import InputError
from pipelines.command import PipelineError
from pipelines.training.sources.base import Read, check_size


class Zip:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = _name(path)

    def paths(self) -> Iterator[str]:
        with _archive(self._path), zipfile.ZipFile(self._path) as archive:
            yield from sorted(archive.namelist())

    def files(self) -> Iterator[tuple[str, Read]]:
        with _archive(self._path), zipfile.ZipFile(self._path) as archive:
            for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
                if not entry.is_dir():
                    yield entry.filename, partial(self._read, archive, entry)

    def _read(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        check_size(entry.file_size)
        with _archive(self._path):
            return archive.read(entry)


class Tar:
    """Read from front to back: seeking in a compressed archive would unpack it once a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = _name(path)

    def paths(self) -> Iterator[str]:
        for member, path, _ in self._members():
            yield f"{path}/" if member.isdir() else path

    def files(self) -> Iterator[tuple[str, Read]]:
        for member, path, archive in self._members():
            if not member.isdir():
                yield path, partial(self._read, archive, member)

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, str, tarfile.TarFile]]:
        with _archive(self._path), tarfile.open(self._path, "r|*") as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined] # tarfile remembers all that it has seen
                yield member, member.name.removeprefix("./"), archive

    def _read(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        if not member.isfile():
            raise InputError("a link inside the archive: pack the file itself (tar --dereference --hard-dereference)")
        check_size(member.size)
        with _archive(self._path):
            content = archive.extractfile(member)
            return content.read() if content else b""


def _name(archive: Path) -> str:
    return re.sub(r"\.(zip|tgz|tar(\.\w+)?)$", "", archive.name)


@contextmanager
def _archive(path: Path) -> Iterator[None]:
    damage = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
    try:
        yield
    except damage as error:
        raise PipelineError(f"{path}: damaged archive: {error}") from error
