"""pipelines.training.quantize: every scheme ships the network that was trained, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from model import manifest, network
from model.inputs import Pixels
from model.manifest import FLOAT_MODEL, MODEL
from model.predictor import Predictor, PredictorError
from pipelines import params
from pipelines.command import PipelineError
from pipelines.training.dataset import Dataset
from pipelines.training.quantize import convert, quantize
from tests.conftest import DEMONSTRATION, quick

SETTINGS = quick(params.load(DEMONSTRATION / "params.yaml"))


@pytest.mark.parametrize("scheme", ["int8", "dynamic", "float16", "none"])
def test_schemes(trained: Path, tmp_path: Path, scheme: str) -> None:
    """Each takes uint8, answers float32 of any batch, agrees with the reference and is of the size it promises."""
    dataset = Dataset(trained / "dataset")
    settings = msgspec.structs.replace(SETTINGS, quantize=msgspec.structs.replace(SETTINGS.quantize, scheme=scheme))
    quantize(dataset, trained / "model.weights.h5", tmp_path, settings)
    images = dataset.images[dataset.indices("test")]
    answers, reference = (Predictor(tmp_path / name).predict(images) for name in (MODEL, FLOAT_MODEL))
    assert np.mean(answers.argmax(axis=1) == reference.argmax(axis=1)) >= 0.97
    ratio = (tmp_path / MODEL).stat().st_size / (tmp_path / FLOAT_MODEL).stat().st_size
    low, high = {"int8": (0.2, 0.45), "dynamic": (0.2, 0.45), "float16": (0.45, 0.65), "none": (0.99, 1.01)}[scheme]
    assert low <= ratio <= high
    described = manifest.load(tmp_path)
    assert described.scheme == scheme
    assert described.labels == dataset.schema.labels
    assert set(described.files) == {MODEL, FLOAT_MODEL}
    assert set(described.params) == {"prepare", "train", "quantize"}


def test_the_same_weights_give_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    """Converting again is byte-identical, manifest and all."""
    quantize(Dataset(trained / "dataset"), trained / "model.weights.h5", tmp_path, SETTINGS)
    for name in (MODEL, FLOAT_MODEL, manifest.NAME):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


def test_int8_is_integer_throughout(trained: Path) -> None:
    """Raw pixels are the quantized input, and weights have a scale a channel."""
    interpreter = Interpreter(model_path=str(trained / MODEL))
    interpreter.allocate_tensors()
    assert interpreter.get_input_details()[0]["quantization"] == (1.0, 0)
    scales = [len(tensor["quantization_parameters"]["scales"]) for tensor in interpreter.get_tensor_details()]
    assert max(scales) >= 64


def refuse(trained: Path, tmp_path: Path, conversion: object, message: str) -> None:
    """Check that a faulty conversion is refused and leaves no file behind."""
    with pytest.raises(PipelineError, match=message):
        quantize(Dataset(trained / "dataset"), trained / "model.weights.h5", tmp_path, SETTINGS, conversion)
    assert not list(tmp_path.iterdir())


def test_an_untrained_graph_is_refused(trained: Path, tmp_path: Path) -> None:
    """A converter that loses the weights without a word does not get past the check."""

    def untrained(model: keras.Model, scheme: str, images: Pixels) -> bytes:
        return convert(network.build(model.name, model.input_shape[1:], model.output_shape[1]), scheme, images)

    refuse(trained, tmp_path, untrained, "not the network that was trained: same class on")


def test_random_layers_are_refused(trained: Path, tmp_path: Path) -> None:
    """Augmentation that got into the exported graph makes answers random, and is refused as such."""

    class Noisy(tf.Module):
        def __init__(self, model: keras.Model) -> None:
            super().__init__()
            self.model = model

        @tf.function(input_signature=[tf.TensorSpec([None, 12, 12, 1], tf.uint8)])
        def __call__(self, pixels: tf.Tensor) -> tf.Tensor:
            x = tf.cast(pixels, tf.float32)
            return self.model(x + tf.random.uniform(tf.shape(x), 0, 60))

    def augmented(model: keras.Model, scheme: str, images: Pixels) -> bytes:
        del scheme, images
        module = Noisy(model)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.__call__.get_concrete_function()], module)
        return bytes(converter.convert())

    refuse(trained, tmp_path, augmented, "differently each time: random layers")


def test_a_wrong_calibration_range_is_refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrating on pixels from 0 to 1 gives an input that raw pixels do not fit."""

    def narrow(images: Pixels) -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image[np.newaxis].astype(np.float32) / 255]

    monkeypatch.setattr("pipelines.training.quantize._calibrate", narrow)
    with pytest.raises(PredictorError, match="raw pixels do not fit it"):
        quantize(Dataset(trained / "dataset"), trained / "model.weights.h5", tmp_path, SETTINGS)
    assert not list(tmp_path.iterdir())


def test_weights_of_another_network_are_refused(trained: Path, tmp_path: Path) -> None:
    """Weights are never loaded in part."""
    other = msgspec.structs.replace(SETTINGS, train=msgspec.structs.replace(SETTINGS.train, network="mlp"))
    with pytest.raises(network.NetworkError, match="does not fit the network mlp"):
        quantize(Dataset(trained / "dataset"), trained / "model.weights.h5", tmp_path, other)
