"""Where images come from: a name that opens as a stream of paths and a stream of files, both in a fixed order.

Paths are relative and end in `/` for a folder, so that an empty class is seen. Nothing is extracted to disk.
"""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import urlsplit

from pipelines.command import PipelineError

MAX_FILE_BYTES = 256 * 2**20
KINDS = "`digits`, a folder, a .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz file, or s3://bucket/prefix"


class Source(Protocol):
    """Both streams may be taken several times and come in the same order for the same source."""

    name: str

    def paths(self) -> Iterator[str]: ...

    def files(self) -> Iterator[tuple[str, bytes]]: ...


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

    def files(self) -> Iterator[tuple[str, bytes]]:
        import numpy as np  # noqa: PLC0415 (scikit-learn takes a second to import)
        from PIL import Image  # noqa: PLC0415
        from sklearn.datasets import load_digits  # noqa: PLC0415

        from pipelines.training.shards import encode  # noqa: PLC0415

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], from 0 to 16
        for position, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
            yield f"{label}/{position:04}.png", encode(Image.fromarray(image))


class Folder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.resolve().name

    def paths(self) -> Iterator[str]:
        return self._walk(self._path)

    def files(self) -> Iterator[tuple[str, bytes]]:
        for path in self.paths():
            if not path.endswith("/"):
                file = self._path / path
                _check_size(path, file.stat().st_size)
                yield path, file.read_bytes()

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
        self.name = path.stem

    def paths(self) -> Iterator[str]:
        with zipfile.ZipFile(self._path) as archive:
            yield from sorted(archive.namelist())

    def files(self) -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(self._path) as archive:
            for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
                if not entry.is_dir():
                    _check_size(entry.filename, entry.file_size)
                    try:
                        yield entry.filename, archive.read(entry)
                    except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error, lzma.LZMAError) as error:
                        raise PipelineError(f"{self._path}: {entry.filename}: {error}") from error


class Tar:
    """Read from front to back: seeking in a compressed archive would unpack it once a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name.partition(".")[0]

    def paths(self) -> Iterator[str]:
        for path, _ in self._members(read=False):
            yield path

    def files(self) -> Iterator[tuple[str, bytes]]:
        for path, data in self._members(read=True):
            if not path.endswith("/"):
                yield path, data

    def _members(self, *, read: bool) -> Iterator[tuple[str, bytes]]:
        try:
            with tarfile.open(self._path, "r|*") as archive:
                for member in archive:
                    archive.members.clear()  # type: ignore[attr-defined] # tarfile remembers all that it has seen
                    path = member.name.removeprefix("./")
                    if member.isdir():
                        yield f"{path}/", b""
                    elif member.isfile():
                        _check_size(path, member.size)
                        content = archive.extractfile(member) if read else None
                        yield path, content.read() if content else b""
        except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise PipelineError(f"{self._path}: damaged archive: {error}") from error


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
        for path, _ in self._objects(read=False):
            yield path

    def files(self) -> Iterator[tuple[str, bytes]]:
        for path, data in self._objects(read=True):
            if not path.endswith("/"):
                yield path, data

    def _objects(self, *, read: bool) -> Iterator[tuple[str, bytes]]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                for item in page.get("Contents", ()):
                    path = item["Key"].removeprefix(self._prefix)
                    _check_size(path, item["Size"])
                    if path:
                        yield path, self._read(item["Key"]) if read else b""
        except (BotoCoreError, ClientError) as error:
            raise PipelineError(f"{self._location}: {error}") from error

    def _read(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()


def _check_size(path: str, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise PipelineError(f"{path} has {size:,} bytes: an image file may have {MAX_FILE_BYTES:,}")
