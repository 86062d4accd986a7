"""pipelines.training.corruptions: each changes pictures as its name says, and severity zero changes nothing."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import params
from pipelines.training.corruptions import CORRUPTIONS, occlusion

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 14, 3), np.uint8)


@given(name=st.sampled_from(sorted(CORRUPTIONS)), severity=st.floats(0, 100))
def test_shape_and_type_stay(name: str, severity: float) -> None:
    """Whatever the severity, pixels stay uint8 of the same shape, the same each time."""
    corrupted = CORRUPTIONS[name](IMAGES, severity)
    assert corrupted.shape == IMAGES.shape
    assert corrupted.dtype == np.uint8
    assert np.array_equal(corrupted, CORRUPTIONS[name](IMAGES, severity))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_changed_by_itself(name: str) -> None:
    """What becomes of it does not depend on the images beside it."""
    together = CORRUPTIONS[name](IMAGES, 0.7)
    assert np.array_equal(together[1:2], CORRUPTIONS[name](IMAGES[1:2], 0.7))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_zero_changes_nothing(name: str) -> None:
    """Zero is the picture itself, and a real severity is not."""
    assert np.array_equal(CORRUPTIONS[name](IMAGES, 0), IMAGES)
    assert not np.array_equal(CORRUPTIONS[name](IMAGES, 0.9 if name == "contrast" else 3), IMAGES)


def test_each_does_what_it_says() -> None:
    """A dot moves down and right, brightens, fades, spreads and turns counter-clockwise."""
    dot = np.zeros((1, 9, 9, 1), np.uint8)
    dot[0, 4, 6] = 200
    assert CORRUPTIONS["shift"](dot, 2)[0, 6, 8, 0] == 200
    assert CORRUPTIONS["brightness"](dot, 30).min() == 30
    assert CORRUPTIONS["contrast"](dot, 0.5)[0, 4, 6, 0] in {101, 102}
    assert 0 < CORRUPTIONS["blur"](dot, 1)[0, 4, 5, 0] < 200
    assert CORRUPTIONS["rotation"](dot, 90)[0, 2, 4, 0] == 200
    assert np.std(CORRUPTIONS["noise"](np.full((1, 100, 100, 1), 128, np.uint8), 20)) == pytest.approx(20, rel=0.05)


def test_each_has_a_severity_in_params() -> None:
    """Every corruption is tuned in params.yaml, and every severity there is one of a corruption."""
    assert {field.name for field in msgspec.structs.fields(params.Robustness)} == set(CORRUPTIONS)
    assert {field.name for field in msgspec.structs.fields(params.Invariance)} <= set(CORRUPTIONS)


def test_occlusion_hides_the_centre() -> None:
    """The middle is the picture's mean, the border stays, and a share of zero hides nothing."""
    hidden = occlusion(IMAGES, 0.5)
    assert np.array_equal(hidden[:, :4], IMAGES[:, :4])
    assert np.ptp(hidden[0, 4:12, 4:10, 0]) == 0
    assert abs(int(hidden[0, 8, 7, 0]) - IMAGES[0, :, :, 0].mean()) <= 1
    assert np.array_equal(occlusion(IMAGES, 0), IMAGES)
