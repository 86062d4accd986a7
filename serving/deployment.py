"""Which release answers a request: one, or a stable one and a canary that takes a share or shadows it."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import Executor
from contextvars import Context
from pathlib import Path

from model.inputs import Pixels
from model.predictor import Probabilities
from serving import metrics, observation, release
from serving.batching import Batcher
from serving.config import Settings
from serving.correlation import CHOSEN
from serving.errors import Refused
from serving.release import Release, ReleaseError
from serving.target import Target
from serving.telemetry import Telemetry

Loaded = tuple[Release, Release | None]


def load(target: Target, settings: Settings) -> Loaded:
    """Return the target's stable release and canary, in any thread. Raises ServingError."""
    key = Path(settings.public_key) if settings.public_key else None
    stable = release.load(Path(target.stable), key, target.expected, settings.max_batch)
    if not target.canary:
        return stable, None
    canary = release.load(Path(target.canary), key, "", settings.max_batch)
    if (canary.labels, canary.predictor.input_shape) != (stable.labels, stable.predictor.input_shape):
        raise ReleaseError(f"canary {canary.name} has other labels or another input than {stable.name}")
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
        batcher = self._find(version)
        CHOSEN.set(batcher.release.name)
        return batcher

    def _find(self, version: str) -> Batcher:
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
        """Return the answer to come; a shadow is asked afterwards."""
        answer = batcher.submit(images)
        if self.target.shadow and batcher is self.stable:

            def shadow(done: asyncio.Future[Probabilities]) -> None:
                if not done.cancelled() and not done.exception():
                    self._shadow(images, done.result())

            answer.add_done_callback(shadow, context=Context())  # or the trail of the request would be the shadow's
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
                observation.describe(self._telemetry.tally, one)

    def _shadow(self, images: Pixels, answers: Probabilities) -> None:
        """Ask the canary what was answered already, and count where it differs."""
        if self.canary is None or random.random() * 100 >= self.target.percent:  # noqa: S311 (a share, not a secret)
            return
        name = self.canary.release.name

        def compare(done: asyncio.Future[Probabilities]) -> None:
            if done.cancelled() or done.exception():
                self._telemetry.tally.add(metrics.SHADOW, name, "error", amount=len(images))
                return
            same = int((answers.argmax(axis=1) == done.result().argmax(axis=1)).sum())
            self._telemetry.tally.add(metrics.SHADOW, name, "same", amount=same)
            self._telemetry.tally.add(metrics.SHADOW, name, "different", amount=len(images) - same)

        try:
            self.canary.submit(images).add_done_callback(compare)
        except Refused:
            self._telemetry.tally.add(metrics.SHADOW, name, "error", amount=len(images))
