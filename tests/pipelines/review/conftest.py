"""Models that several tests compare, each trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.review.models import SETTINGS, replace, retrain


@pytest.fixture(scope="session")
def before(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The incumbent: twelve epochs on digits of 12x12 pixels."""
    return retrain(trained, tmp_path_factory.mktemp("incumbent") / "artifacts")


@pytest.fixture(scope="session")
def twin(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same from another seed."""
    settings = replace(SETTINGS, train=replace(SETTINGS.train, seed=7))
    return retrain(before, tmp_path_factory.mktemp("twin") / "artifacts", settings)


@pytest.fixture(scope="session")
def beginner(before: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a single epoch."""
    settings = replace(SETTINGS, train=replace(SETTINGS.train, epochs=1))
    return retrain(before, tmp_path_factory.mktemp("beginner") / "artifacts", settings)
