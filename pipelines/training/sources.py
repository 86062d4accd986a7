"""Where images come from: a name that opens as a stream of paths and a stream of files, both in a fixed order.

Paths are relative and end in `/` for a folder, so that an empty class is seen. Nothing is extracted to disk.
"""

from __future__ import annotations

import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import urlsplit

from model.inputs import InputError
from pipelines.command import PipelineError

MAX_FILE_BYTES = 256 * 2**20
KINDS = "`digits`, a folder, a .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz file, or s3://bucket/prefix"


Read = Callable[[], bytes]


class Source(Protocol):
    """Both streams may be taken several times and come in the same order for the same source.

    A file is read only when asked, and before the next one is taken. Reading raises InputError or OSError for a file
    that cannot be had by itself, and PipelineError when the source as a whole is damaged or refuses.
    """

    name: str

    def paths(self) -> Iterator[str]: ...

    def files(self) -> Iterator[tuple[str, Read]]: ...


def open_source(location: str) -> Source:
    """Return the source at a location. Raises PipelineError when it is none of KINDS, or not there."""
    path = Path(location)
    if location == "digits":
        return Digits()
    if location.startswith("s3://"):
        return Bucket(location)
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise PipelineError(f"no source {location!r}: it is neither there nor one of {KINDS}")
    if zipfile.is_zipfile(path):
        return Zip(path)
    if tarfile.is_tarfile(path):
        return Tar(path)
    raise PipelineError(f"cannot read {location!r}: expected {KINDS}")


class Digits:
    """1,797 handwritten digits of 8x8 pixels that come with scikit-learn (Alpaydin and Kaynak 1998)."""

    name = "digits"

    def paths(self) -> Iterator[str]:
        for path, _ in self.files():
            yield path

    def files(self) -> Iterator[tuple[str, Read]]:
        import numpy as np  # noqa: PLC0415 (scikit-learn takes a second to import)
        from PIL import Image  # noqa: PLC0415
        from sklearn.datasets import load_digits  # noqa: PLC0415

        from pipelines.training.shards import encode  # noqa: PLC0415

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], from 0 to 16
        for position, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
            yield f"{label}/{position:04}.png", partial(encode, Image.fromarray(image))


class Folder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.resolve().name

    def paths(self) -> Iterator[str]:
        return self._walk(self._path)

    def files(self) -> Iterator[tuple[str, Read]]:
        for path in self.paths():
            if not path.endswith("/"):
                yield path, partial(self._read, self._path / path)

    def _read(self, file: Path) -> bytes:
        if not file.is_file():
            raise InputError("not a file")
        _check_size(file.stat().st_size)
        return file.read_bytes()

    def _walk(self, folder: Path) -> Iterator[str]:
        with os.scandir(folder) as entries:
            names = sorted((entry.name, entry.is_dir()) for entry in entries)
        for name, is_folder in names:
            path = (folder / name).relative_to(self._path).as_posix()
            yield f"{path}/" if is_folder else path
            if is_folder:
                yield from self._walk(folder / name)


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
        _check_size(entry.file_size)
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
        _check_size(member.size)
        with _archive(self._path):
            content = archive.extractfile(member)
            return content.read() if content else b""


class Bucket:
    def __init__(self, location: str) -> None:
        import boto3  # noqa: PLC0415 (slow to import, and only this source needs it)

        parts = urlsplit(location)
        self._location = location
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        self._client = boto3.client("s3")
        self.name = PurePosixPath(self._prefix).name or self._bucket

    def paths(self) -> Iterator[str]:
        for path, _ in self._objects():
            yield path

    def files(self) -> Iterator[tuple[str, Read]]:
        for path, size in self._objects():
            if not path.endswith("/"):
                yield path, partial(self._read, path, size)

    def _objects(self) -> Iterator[tuple[str, int]]:
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                for item in page.get("Contents", ()):
                    if path := item["Key"].removeprefix(self._prefix):
                        yield path, item["Size"]

    def _read(self, path: str, size: int) -> bytes:
        _check_size(size)
        with self._errors():
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)["Body"].read()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise PipelineError(f"{self._location}: {error}") from error


def _name(archive: Path) -> str:
    return re.sub(r"\.(zip|tgz|tar(\.\w+)?)$", "", archive.name)


@contextmanager
def _archive(path: Path) -> Iterator[None]:
    damage = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
    try:
        yield
    except damage as error:
        raise PipelineError(f"{path}: damaged archive: {error}") from error


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise InputError(f"{size:,} bytes: an image file may have {MAX_FILE_BYTES:,}")
