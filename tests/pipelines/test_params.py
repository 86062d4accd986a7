"""pipelines.params: a wrong setting is refused before any work begins, by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import params
from pipelines.command import PipelineError
from tests.conftest import DEMONSTRATION, ROOT


def test_the_shipped_file_loads() -> None:
    """What the repository holds is valid, and the demonstration's is typed."""
    params.load(ROOT / "params.yaml")
    loaded = params.load(DEMONSTRATION / "params.yaml")
    assert loaded.prepare.shape == (28, 28, 1)
    assert loaded.train.network == "cnn"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  epochs: 30\n", "", "missing required field `epochs` - at `train`"),
        ("epochs: 30", "epochs: many", "Expected `int`, got `str` - at `train.epochs`"),
        ("epochs: 30", "epochs: 0", "Expected `int` >= 1 - at `train.epochs`"),
        ("epochs: 30", "epoch: 30", "unknown field `epoch`|missing required field `epochs`"),
        ("learning_rate: 0.003", "learning_rate: 3e-3", r"write 1.0e-3 rather than 1e-3"),
        ("channels: 1", "channels: 4", "Invalid enum value 4 - at `prepare.channels`"),
        ("scheme: int8", "scheme: int4", "Invalid enum value 'int4' - at `quantize.scheme`"),
        (
            "horizontal_flip: false",
            "horizontal_flip: 1",
            "Expected `bool`, got `int` - at `train.augment.horizontal_flip`",
        ),
        ("test: 0.25", "test: 0.9", "must leave examples to train on"),
        ("prepare:\n", "prepare: [\n", "is not YAML"),
        ("evaluate:\n", "evaluated:\n", "unknown field `evaluated`|missing required field `evaluate`"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Missing, misspelt, mistyped and out-of-range settings each say where and what is expected."""
    text = (DEMONSTRATION / "params.yaml").read_text()
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(PipelineError, match=message):
        params.load(path)


def test_an_empty_or_missing_file_is_refused(tmp_path: Path) -> None:
    """No file and an empty one are told apart."""
    with pytest.raises(PipelineError, match="is missing"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(PipelineError, match="Expected `object`, got `null`"):
        params.load(tmp_path / "params.yaml")
