"""Pictures kept for people to label, sealed: a share of the requests with one picture, for so many days.

Loaded only where SLIPWAY_SAMPLES is set. A thread writes; what it cannot keep up with is not kept.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from PIL.Image import fromarray

from model import ModelError, sample
from model.inputs import Pixels
from model.sample import SUFFIX, Sample
from serving.access import Record
from serving.config import ConfigError, Settings
from serving.logs import event

MOST = 1000
"""Pictures that a worker keeps a day: enough for labels, and a bound for the disk."""
BACKLOG = 8
"""Times that `add` hands something over before the thread has finished with what came first."""
QUIET = 60
"""Seconds between two lines about pictures that could not be kept."""


class Samples:
    """Of one worker."""

    def __init__(self, settings: Settings) -> None:
        """Make the folder. Raises ConfigError when it cannot be written, or the key is none."""
        try:
            self._key = sample.public_key(settings.samples_key)
        except ModelError as error:
            raise ConfigError(f"SLIPWAY_SAMPLES_KEY is {error}") from error
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
        self._day = date.min
        self._kept = 0
        self._complained = -QUIET * 1.0

    def add(self, records: list[Record]) -> None:
        """Keep the pictures that records still have, in the background; on another day, also let old ones go."""
        self._writing = [one for one in self._writing if not one.done()]
        if len(self._writing) >= BACKLOG:
            return
        today = datetime.now(UTC).date()
        pictures = [
            (record, record.trail.images[0])
            for record in records
            if record.trail and record.trail.images is not None and record.label
        ]
        if not pictures and today == self._day:
            return
        if today != self._day:
            self._day, self._kept = today, 0
        pictures = pictures[: MOST - self._kept]
        self._kept += len(pictures)
        self._writing.append(self._thread.submit(self._keep, today, pictures))

    def _keep(self, today: date, pictures: list[tuple[Record, Pixels]]) -> None:
        try:
            self._forget(today - timedelta(days=self._days))
            folder = self._folder / today.isoformat()
            for record, pixels in pictures:
                folder.mkdir(mode=0o700, exist_ok=True)
                name = f"{secrets.token_hex(8)}{SUFFIX}"
                found = Sample(record.request_id, record.time, record.release, record.label, _png(pixels))
                partial = folder / f".{name}"
                partial.touch(0o600)
                partial.write_bytes(sample.seal(found, self._key))
                partial.rename(folder / name)
        except OSError as error:
            if time.monotonic() - self._complained >= QUIET:
                self._complained = time.monotonic()
                event("samples-lost", "warning", **{"error.message": str(error)})

    def _forget(self, last: date) -> None:
        """Delete what was kept on that day and before, and nothing that is not a day's."""
        for folder in self._folder.iterdir():
            with suppress(ValueError):
                if date.fromisoformat(folder.name) <= last:
                    shutil.rmtree(folder, ignore_errors=True)  # another worker may be at it


def _png(pixels: Pixels) -> bytes:
    with io.BytesIO() as file:
        fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
        return file.getvalue()
