"""Images in S3, or in anything that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from pipelines import s3
from pipelines.training.sources.base import Read, check_size


class Bucket:
    def __init__(self, location: str) -> None:
        self._folder = s3.folder(location)
        self.name = PurePosixPath(self._folder.prefix).name or self._folder.bucket

    def paths(self) -> Iterator[str]:
        yield from filter(None, self._folder.objects())

    def files(self) -> Iterator[tuple[str, Read]]:
        for path, found in self._folder.objects().items():
            if path and not path.endswith("/"):
                yield path, partial(self._read, path, found.size)

    def _read(self, path: str, size: int) -> bytes:
        check_size(size)
        return self._folder.read(path)
