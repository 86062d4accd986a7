"""A folder of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from model.inputs import InputError
from pipelines.training.sources.base import Read, check_size


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
        check_size(file.stat().st_size)
        return file.read_bytes()

    def _walk(self, folder: Path) -> Iterator[str]:
        with os.scandir(folder) as entries:
            names = sorted((entry.name, entry.is_dir()) for entry in entries)
        for name, is_folder in names:
            path = (folder / name).relative_to(self._path).as_posix()
            yield f"{path}/" if is_folder else path
            if is_folder:
                yield from self._walk(folder / name)
