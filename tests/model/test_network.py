"""model.network: every architecture builds, takes raw pixels and holds nothing random."""

from __future__ import annotations

import numpy as np
import pytest

from model.network import ARCHITECTURES, NetworkError, build
from pipelines import params
from pipelines.training.determinism import make_deterministic
from tests.conftest import DEMONSTRATION


@pytest.fixture(scope="module", autouse=True)
def _pinned() -> None:
    # TensorFlow takes the thread count once a process, and tests that train come in any order.
    make_deterministic(params.load(DEMONSTRATION / "params.yaml").train)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 3), (33, 20, 3)])
def test_probabilities_of_raw_pixels(name: str, shape: tuple[int, int, int]) -> None:
    """Each network turns pixels from 0 to 255 into probabilities, the same ones each time."""
    model = build(name, shape, classes=5)
    pixels = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(np.float32)
    answers = model.predict(pixels, verbose=0)
    assert answers.shape == (4, 5)
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(answers, model.predict(pixels, verbose=0))
    assert not [layer.name for layer in model.layers if "random" in type(layer).__name__.lower()]


def test_unknown_name_lists_the_known() -> None:
    """A misspelt name is answered with the names there are."""
    with pytest.raises(NetworkError, match="unknown network 'cn': choose one of mlp, cnn, resnet"):
        build("cn", (28, 28, 1), 10)


def test_too_small_an_input_is_refused() -> None:
    """An image that strides would shrink to nothing is refused in words."""
    with pytest.raises(NetworkError, match="10x4 are smaller than 8"):
        build("cnn", (4, 10, 1), 10)
