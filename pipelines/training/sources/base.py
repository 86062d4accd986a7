"""What every source of images is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from model.inputs import InputError

MAX_FILE_BYTES = 256 * 2**20

Read = Callable[[], bytes]


class Source(Protocol):
    """Both streams may be taken several times and come in the same order for the same source.

    A file is read only when asked, and before the next one is taken. Reading raises InputError or OSError for a file
    that cannot be had by itself, and PipelineError when the source as a whole is damaged or refuses.
    """

    name: str

    def paths(self) -> Iterator[str]: ...

    def files(self) -> Iterator[tuple[str, Read]]: ...


def check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise InputError(f"{size:,} bytes: an image file may have {MAX_FILE_BYTES:,}")
