"""What all workers of a test run have in common: the first one that needs a thing makes it, the others wait for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

Make = Callable[[Path], object]


class Once:
    """The folder of a test run, whose workers are processes of pytest-xdist."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._own = factory.getbasetemp()
        self._common = self._own.parent if "PYTEST_XDIST_WORKER" in os.environ else self._own

    def folder(self, name: str, make: Make) -> Path:
        """Return a folder that `make` filled for all workers. Nobody changes it."""
        folder, failed = self._common / name, self._common / f"{name}.failed"
        with FileLock(self._common / f"{name}.lock", is_singleton=True):
            if failed.exists():
                pytest.fail(f"{name} could not be made, as the first test says that needed it")
            if not folder.exists():
                failed.touch()  # until it is whole
                folder.mkdir()
                make(folder)
                failed.unlink()
        return folder

    @contextmanager
    def lease(self, name: str, make: Make, end: Callable[[Path], object]) -> Iterator[Path]:
        """Yield such a folder; the worker that leaves it last ends what it stands for."""
        users, lock = self._common / f"{name}.users", FileLock(self._common / f"{name}.lock", is_singleton=True)
        with lock:
            folder = self.folder(name, make)
            users.mkdir(exist_ok=True)
            (users / str(os.getpid())).touch()
        try:
            yield folder
        finally:
            with lock:
                (users / str(os.getpid())).unlink()
                if not any(users.iterdir()):
                    end(folder)
                    shutil.rmtree(folder)

    def copy(self, name: str, make: Make) -> Path:
        """Return this worker's own copy of such a folder."""
        return Path(shutil.copytree(self.folder(name, make), self._own / f"{name}-copy", symlinks=True))
