"""Requests that wait are answered together, and whatever fails, whoever waits hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from model.inputs import Pixels
from model.predictor import Probabilities
from serving import metrics, release
from serving.batching import Batcher
from serving.config import Settings
from serving.errors import Refused
from serving.telemetry import Telemetry


def run(
    trained: Path, use: Callable[[Batcher], Awaitable[object]], **settings: float
) -> tuple[list[object], dict[str, list[float]]]:
    """Return what `use` gathered and the samples that were counted, by metric."""

    async def main() -> tuple[list[object], dict[str, list[float]]]:
        telemetry = Telemetry(access_log=False, counting=True)
        batcher = Batcher(release.load(trained), Settings(**settings), telemetry, None)
        found = await use(batcher)
        telemetry.flush()
        return found, {sample.metric: sample.values for sample in telemetry.tally.take()}

    return asyncio.run(main())


def test_what_waits_is_merged_up_to_the_limit(trained: Path, images: Pixels, answers: Probabilities) -> None:
    """Ten requests become batches of four, four and two; each gets its own answer, bit for bit."""

    async def ask(batcher: Batcher) -> list[object]:
        return await asyncio.gather(*(batcher.submit(one[None]) for one in images[:10]))

    found, samples = run(trained, ask, max_batch=4)
    assert (np.concatenate(found) == answers[:10]).all()
    counts = dict(zip([*metrics.BATCH_SIZE.buckets, "more", "sum"], samples[metrics.BATCH_SIZE.name], strict=True))
    assert (counts[2], counts[4], counts["sum"]) == (1, 2, 10)


def test_a_failure_reaches_everybody_of_its_batch(trained: Path, images: Pixels, answers: Probabilities) -> None:
    """Shapes that cannot be merged fail both at once instead of never, and the next request is answered."""

    async def ask(batcher: Batcher) -> list[object]:
        wrong = [batcher.submit(images[:1]), batcher.submit(np.zeros((1, 9, 9, 1), np.uint8))]
        failed = await asyncio.wait_for(asyncio.gather(*wrong, return_exceptions=True), 5)
        return [*failed, await batcher.submit(images[:1])]

    (first, second, after), _ = run(trained, ask)
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert (after == answers[:1]).all()


def test_the_queue_and_the_deadline(trained: Path, images: Pixels) -> None:
    """Who comes to a full queue is refused at once; who has waited too long, when the time comes."""

    async def ask(batcher: Batcher) -> list[object]:
        waiting = [batcher.submit(images[:1]) for _ in range(2)]
        with pytest.raises(Refused, match="too many requests wait"):
            batcher.submit(images[:1])
        await asyncio.sleep(0.05)
        return await asyncio.gather(*waiting, return_exceptions=True)

    found, _ = run(trained, ask, queue=2, batch_wait=0.03, deadline=0.01)
    assert [(type(one), one.status) for one in found] == [(Refused, 504)] * 2
