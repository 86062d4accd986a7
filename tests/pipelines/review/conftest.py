"""Models that several tests compare, each trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.review.models import SETTINGS, replace, retrain
from tests.shared import Shared


@pytest.fixture(scope="session")
def before(trained: Path, shared: Shared) -> Path:
    """The incumbent: twelve epochs on digits of 12x12 pixels."""
    return shared.folder("incumbent", lambda folder: retrain(trained, folder))


@pytest.fixture(scope="session")
def twin(before: Path, shared: Shared) -> Path:
    """The same from another seed."""
    settings = replace(SETTINGS, train=replace(SETTINGS.train, seed=7))
    return shared.folder("twin", lambda folder: retrain(before, folder, settings))


@pytest.fixture(scope="session")
def beginner(before: Path, shared: Shared) -> Path:
    """The same after a single epoch."""
    settings = replace(SETTINGS, train=replace(SETTINGS.train, epochs=1))
    return shared.folder("beginner", lambda folder: retrain(before, folder, settings))
