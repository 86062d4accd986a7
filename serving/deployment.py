"""Which release answers a request: one, or a stable one and a canary that takes a share or shadows it."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from model.inputs import Pixels
from model.predictor import Probabilities
from serving import metrics, release
from serving.batching import Batcher
from serving.config import Settings
from serving.errors import Refused
from serving.release import Release
from serving.target import Target
from serving.telemetry import Telemetry

Loaded = tuple[Release, Release | None]


def load(target: Target, settings: Settings, expected: str = "") -> Loaded:
    """Return the target's stable release and canary, in any thread. Raises ServingError."""
    key = Path(settings.public_key) if settings.public_key else None
    stable = release.load(Path(target.stable), key, expected, settings.max_batch)
    canary = release.load(Path(target.canary), key, "", settings.max_batch) if target.canary else None
    return stable, canary


class Deployment:
    """Loaded releases with their queues. A swap replaces the whole object; requests finish on the one they began on."""

    def __init__(
        self, target: Target, loaded: Loaded, settings: Settings, telemetry: Telemetry, pool: Executor | None
    ) -> None:
        """Warm up every thread that will infer, so this may take a moment."""
        self.target = target
        self._telemetry = telemetry
        stable, canary = loaded
        self.stable = Batcher(stable, settings, telemetry, pool)
        self.canary = Batcher(canary, settings, telemetry, pool) if canary else None

    def choose(self, version: str = "") -> Batcher:
        """Return who answers the next request, or the one that a request names by version or as stable or canary."""
        if not version:
            if self.canary and not self.target.shadow and random.random() * 100 < self.target.percent:  # noqa: S311
                return self.canary
            return self.stable
        for name, batcher in (("stable", self.stable), ("canary", self.canary)):
            if batcher and version in {name, batcher.release.name, batcher.release.name.removeprefix("v")}:
                return batcher
        raise Refused(404, f"no version {version!r} is served: {' or '.join(self.versions())}")

    def versions(self) -> list[str]:
        return list(dict.fromkeys(batcher.release.name for batcher in (self.stable, self.canary) if batcher))

    def submit(self, batcher: Batcher, images: Pixels) -> asyncio.Future[Probabilities]:
        """Ask a release, and its shadow beside it when there is one."""
        answer = batcher.submit(images)
        if self.canary and self.target.shadow and batcher is self.stable:
            self._shadow(images, answer)
        return answer

    def expire(self) -> None:
        for batcher in (self.stable, self.canary):
            if batcher:
                batcher.expire()

    def describe(self) -> None:
        """Tell the metrics what is served."""
        for role, batcher in (("stable", self.stable), ("canary", self.canary)):
            if batcher:
                one = batcher.release
                labels = (role, one.name, one.manifest.commit or "", one.model_sha256, one.manifest.data_sha256)
                self._telemetry.tally.set(metrics.MODEL_INFO, *labels, value=1)

    def _shadow(self, images: Pixels, answer: asyncio.Future[Probabilities]) -> None:
        if self.canary is None or random.random() * 100 >= self.target.percent:  # noqa: S311 (a share, not a secret)
            return
        name = self.canary.release.name

        def compare(both: asyncio.Future[Any]) -> None:
            ours, theirs = both.result()
            tally = self._telemetry.tally
            if isinstance(ours, BaseException) or isinstance(theirs, BaseException):
                tally.add(metrics.SHADOW, name, "error", amount=len(images))
                return
            same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
            tally.add(metrics.SHADOW, name, "same", amount=same)
            tally.add(metrics.SHADOW, name, "different", amount=len(images) - same)

        try:
            shadowed = self.canary.submit(images)
        except Refused:
            self._telemetry.tally.add(metrics.SHADOW, name, "error", amount=len(images))
        else:
            asyncio.gather(answer, shadowed, return_exceptions=True).add_done_callback(compare)
