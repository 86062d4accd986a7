"""Files on their way to and from a backup: what does not have the hash of its name is stored nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Self, cast

from model.manifest import sha256
from pipelines import s3
from pipelines.command import PipelineError, atomic
from pipelines.progress import bar
from pipelines.recovery.snapshots import OBJECTS, Entry
from pipelines.s3 import Folder

Progress = Callable[[int], object]
Opened = tuple[BinaryIO, str]
"""A stream, and where it is from."""
THREADS = 4


def file_entry(name: str, path: Path, tag: str = "") -> Entry:
    return Entry(name, f"sha256:{sha256(path)}", path.stat().st_size, tag)


def opened(path: Path) -> Opened:
    return path.open("rb"), str(path)


class Verified:
    """A stream whose last bytes come only when all of them have the right hash."""

    def __init__(self, stream: BinaryIO, entry: Entry, where: str) -> None:
        self._stream, self._entry, self._where = stream, entry, where
        self._hash = hashlib.new(entry.digest.split(":")[0], usedforsecurity=False)
        self._left = entry.size

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        self._left -= len(data)
        ended = self._left <= 0 or (size and not data)
        if ended and f"{self._hash.name}:{self._hash.hexdigest()}" != self._entry.digest:
            raise PipelineError(
                f"{self._where} is not what it was: its {self._hash.name} is {self._hash.hexdigest()}, "
                f"expected {self._entry.digest.partition(':')[2]}"
            )
        return data


def save(stream: BinaryIO, entry: Entry, place: Folder, where: str, progress: Progress) -> None:
    """Store a file in a backup. Raises PipelineError when it is another than the entry says; nothing is stored then."""
    objects = place / OBJECTS
    with s3.errors(objects, entry.key):
        objects.client.upload_fileobj(
            cast("BinaryIO", Verified(stream, entry, where)),
            objects.bucket,
            objects.key(entry.key),
            ExtraArgs={"ServerSideEncryption": "AES256"},
            Callback=progress,
        )


def bring(place: Folder, entry: Entry, path: Path, progress: Progress) -> None:
    """Write a file of a backup. Raises PipelineError when it is damaged; the file is not there then."""
    objects = place / OBJECTS
    with s3.errors(objects, entry.key), atomic(path) as partial, partial.open("wb") as file:
        body = objects.client.get_object(Bucket=objects.bucket, Key=objects.key(entry.key))["Body"]
        stream = Verified(cast("BinaryIO", body), entry, f"{objects}{entry.key} ({entry.path})")
        while data := stream.read(1024 * 1024):
            file.write(data)
            progress(len(data))


class Copier:
    """Copies what a backup lacks, several files at once; when one fails, no other is begun."""

    def __init__(self, place: Folder) -> None:
        self._place = place
        self._there = {name: each.size for name, each in (place / OBJECTS).objects().items()}
        self._pool = ThreadPoolExecutor(THREADS)
        self._running: list[Future[None]] = []
        self._progress = bar()
        self._task = self._progress.add_task("copy", total=0)
        self.copied = 0
        """Bytes."""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._progress.stop()

    def has(self, entry: Entry) -> bool:
        """Whether the backup has a file, of the right size at least."""
        return self._there.get(entry.key) == entry.size

    def copy(self, entry: Entry, source: Callable[[], Opened]) -> None:
        """Begin to copy a file, unless the backup has it. Raises what went wrong with an earlier one."""
        if self.has(entry):
            return
        for each in [each for each in self._running if each.done()]:
            self._running.remove(each)
            each.result()
        self._there[entry.key] = entry.size
        self.copied += entry.size
        self._progress.update(self._task, total=self.copied)
        self._running.append(self._pool.submit(self._copy, entry, source))

    def wait(self) -> None:
        """Raise what went wrong with one of the files."""
        for each in self._running:
            each.result()
        self._running.clear()

    def _copy(self, entry: Entry, source: Callable[[], Opened]) -> None:
        stream, where = source()
        with closing(stream):
            save(stream, entry, self._place, where, lambda done: self._progress.advance(self._task, done))
