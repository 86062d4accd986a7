"""model.statistics: what images and answers are told apart by, and the bins of a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model import statistics
from model.statistics import StatisticsError

IMAGES = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
)


@given(IMAGES, st.data())
def test_every_image_is_in_one_bin(images: np.ndarray, data: st.DataObject) -> None:
    """Whatever the images and answers, each is counted once, no bin is empty, and the file comes back as it was."""
    classes = data.draw(st.integers(2, 4))
    answers = data.draw(arrays.arrays(np.float32, (len(images), classes), elements=st.floats(0, 1, width=32)))
    found = statistics.refer([images[:1], images[1:]] if len(images) > 1 else [images], answers, "abcd"[:classes])
    assert sum(found.answers.values()) == len(images)
    for name, values in (statistics.of_images(images) | statistics.of_answers(answers)).items():
        feature = found.features[name]
        assert feature.edges == sorted(set(feature.edges))
        assert min(feature.counts) > 0
        assert statistics.count(values, feature.edges).tolist() == feature.counts
        assert sum(feature.counts) == len(images)


def test_bins_are_tenths() -> None:
    """Values that all differ fill ten bins evenly."""
    images = np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(4, axis=1)
    found = statistics.refer([images], np.eye(2, dtype=np.float32)[np.zeros(200, int)], ["a", "b"])
    assert found.features["brightness"].counts == [20] * 10


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        (lambda images: 255 - images, "brightness"),
        (lambda images: images // 2, "contrast"),
        (lambda images: images // 2 + np.random.default_rng(0).integers(0, 60, images.shape, np.uint8), "detail"),
        (lambda images: images.swapaxes(1, 2), "direction"),
        (lambda images: images[..., ::-1], "tint"),
    ],
)
def test_what_a_feature_is_for(change: object, feature: str) -> None:
    """Inversion, fading, noise, turning and swapped channels each move the feature that is there for them."""
    across = np.linspace(0, 250, 28).astype(np.uint8)
    images = np.zeros((50, 28, 28, 3), np.uint8)
    images[..., 0] = across
    images[..., 1] = across // 2
    before, after = (statistics.of_images(each)[feature] for each in (images, change(images)))  # type: ignore[operator]
    assert abs(after - before).min() > 0.2 * abs(before).mean() or (feature == "tint" and (after == -before).all())


def test_large_images_cost_no_more() -> None:
    """Of a large image a grid of some 32 rows and columns is looked at, and the same is found."""
    small = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), np.uint8)
    large = small.repeat(8, axis=1).repeat(8, axis=2)
    for name, values in statistics.of_images(small).items():
        np.testing.assert_array_equal(values, statistics.of_images(large)[name])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "reference.json: Input data was truncated"),
        ('{"features": {}}', "missing required field `answers`"),
        ('{"features": {"x": {"edges": [2, 1], "counts": [1, 1, 1]}}, "answers": {}}', "x needs ascending edges"),
        ('{"features": {"x": {"edges": [1], "counts": [1]}}, "answers": {}}', "one more count"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """A reference that is cut off, incomplete or contradicts itself is named; none at all is no error."""
    assert statistics.load(tmp_path) is None
    (tmp_path / statistics.NAME).write_text(content)
    with pytest.raises(StatisticsError, match=message):
        statistics.load(tmp_path)
