"""Pictures kept for people to label, sealed: a share of the requests with one picture, for so many days.

Loaded only where SLIPWAY_SAMPLES is set. A thread writes; what it cannot keep up with is not kept.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from PIL.Image import fromarray

from model import sample
from model.inputs import Pixels
from model.sample import SUFFIX, Sample
from serving.access import Record
from serving.config import ConfigError, Settings
from serving.logs import event

MOST = 1000
"""Pictures that a worker keeps a day: enough for labels, and a bound for the disk."""
BURST = 100
"""Of them, those that a day may begin with; the others are spread over it, or all would be of the night."""
BACKLOG = 8
"""Times that `add` hands something over before the thread has finished with what came first."""
QUIET = 60
"""Seconds between two lines about pictures that could not be kept."""


def allowance(now: datetime) -> int:
    """Return how many pictures a worker may have kept by this time of the day."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return BURST + int((MOST - BURST) * ((now - midnight) / timedelta(days=1)))


class Samples:
    """Of one worker."""

    def __init__(self, settings: Settings) -> None:
        """Make the folder. Raises ConfigError when it cannot be written."""
        self._key = sample.public_key(settings.samples_key)
        self._folder = Path(settings.samples)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"SLIPWAY_SAMPLES={settings.samples} cannot be made: {error.strerror}") from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise ConfigError(f"SLIPWAY_SAMPLES={settings.samples} cannot be written")
        self._days = settings.samples_days
        self._thread = ThreadPoolExecutor(1, "samples")
        self._writing: list[Future[None]] = []
        self._day = datetime.now(UTC).date()
        self._kept = len(list(self._place().glob("*"))) // settings.workers
        self._complained = -QUIET * 1.0
        self._do(self._forget, self._day)

    def add(self, records: list[Record]) -> None:
        """Keep the pictures that records have, in the background."""
        pictures = [
            (record, record.trail.images[0])
            for record in records
            if record.trail and record.trail.images is not None and record.label
        ]
        pictures = pictures[: max(allowance(datetime.now(UTC)) - self._kept, 0)]
        if pictures and self._do(self._keep, self._place(), pictures):
            self._kept += len(pictures)

    def tick(self) -> None:
        """On another day, let old ones go."""
        if self._day != (today := datetime.now(UTC).date()):
            self._day, self._kept = today, 0
            self._do(self._forget, today)

    def close(self, seconds: float) -> None:
        """Let the thread finish, unless that takes longer."""
        ending = threading.Thread(target=self._thread.shutdown, daemon=True)
        ending.start()
        ending.join(seconds)

    def _place(self) -> Path:
        return self._folder / self._day.isoformat()

    def _do(self, what: Callable[..., None], *given: object) -> bool:
        """Have the thread do it, unless it is far behind."""
        self._writing = [one for one in self._writing if not one.done()]
        if len(self._writing) >= BACKLOG:
            return False
        self._writing.append(self._thread.submit(self._try, what, *given))
        return True

    def _try(self, what: Callable[..., None], *given: object) -> None:
        try:
            what(*given)
        except Exception as error:  # noqa: BLE001 (nobody looks at what the thread returns)
            if time.monotonic() - self._complained >= QUIET:
                self._complained = time.monotonic()
                event("samples-lost", "warning", **{"error.type": type(error).__name__, "error.message": str(error)})

    def _keep(self, folder: Path, pictures: list[tuple[Record, Pixels]]) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        for record, pixels in pictures:
            name = f"{secrets.token_hex(8)}{SUFFIX}"
            found = Sample(record.request_id, record.time, record.release, record.label, _png(pixels))
            partial = folder / f".{name}"
            partial.touch(0o600)
            partial.write_bytes(sample.seal(found, self._key))
            partial.rename(folder / name)

    def _forget(self, today: date) -> None:
        """Delete the days that are over, and nothing that is not a day's."""
        for folder in self._folder.iterdir():
            if _is_day(folder.name) and folder.name <= (today - timedelta(days=self._days)).isoformat():
                with suppress(FileNotFoundError):  # another worker is at it
                    shutil.rmtree(folder)


def _is_day(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _png(pixels: Pixels) -> bytes:
    with io.BytesIO() as file:
        fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
        return file.getvalue()
