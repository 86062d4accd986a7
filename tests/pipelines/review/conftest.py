"""Models that several tests compare, each trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.once import Once
from tests.pipelines.review.models import SETTINGS, replace, retrain


@pytest.fixture(scope="session")
def before(trained: Path, once: Once) -> Path:
    """The incumbent: twelve epochs on digits of 12x12 pixels."""
    return once.folder("incumbent", lambda folder: retrain(trained, folder))


@pytest.fixture(scope="session")
def twin(before: Path, once: Once) -> Path:
    """The same from another seed."""
    settings = replace(SETTINGS, train=replace(SETTINGS.train, seed=7))
    return once.folder("twin", lambda folder: retrain(before, folder, settings))


@pytest.fixture(scope="session")
def beginner(before: Path, once: Once) -> Path:
    """The same after a single epoch."""
    settings = replace(SETTINGS, train=replace(SETTINGS.train, epochs=1))
    return once.folder("beginner", lambda folder: retrain(before, folder, settings))
