"""Keras architectures by name. Rescaling is inside, so every network takes raw pixels from 0 to 255.

Nothing here is random: augmentation belongs to training, because a random layer that is exported with a
network makes its served answers random.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from keras import layers

from model import ModelError
from model.inputs import Shape


class NetworkError(ModelError):
    """The network's name is unknown, or it cannot be built for this input."""


def build(name: str, input_shape: Shape, classes: int, dropout: float = 0.0) -> keras.Model:
    """Return an untrained network: float32 pixels [n, height, width, channels] -> probabilities [n, classes].

    Raises NetworkError for an unknown name or an input too small for the architecture.
    """
    try:
        architecture = ARCHITECTURES[name]
    except KeyError:
        raise NetworkError(
            f"train.network: unknown network {name!r}: choose one of {', '.join(ARCHITECTURES)}"
        ) from None
    if min(input_shape[:2]) < SMALLEST_SIDE:
        raise NetworkError(
            f"images of {input_shape[1]}x{input_shape[0]} are smaller than {SMALLEST_SIDE} pixels a side"
        )
    pixels = keras.Input(input_shape, dtype="float32", name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pixels)
    x = architecture(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, name="logits")(x)
    return keras.Model(pixels, layers.Softmax(name="probabilities")(x), name=name)


def load_weights(model: keras.Model, path: Path) -> None:
    """Fill a network with saved weights. Raises NetworkError when they are missing or do not fit every layer."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # all that Keras does when it leaves a layer untrained
            model.load_weights(path)
    except FileNotFoundError:
        raise NetworkError(f"the weights {path} are missing") from None
    except (ValueError, OSError, UserWarning) as error:
        reason = str(error).partition("\n")[0]
        raise NetworkError(f"{path} does not fit the network {model.name}: {reason}") from error


def _flatten(x: keras.KerasTensor) -> keras.KerasTensor:
    # keras.layers.Flatten pins the batch size in the converted graph and splits it between delegates.
    size = 1
    for side in x.shape[1:]:
        size *= side
    return keras.ops.reshape(x, (-1, size))


def _convolution(x: keras.KerasTensor, filters: int, strides: int = 1, size: int = 3) -> keras.KerasTensor:
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def _mlp(x: keras.KerasTensor) -> keras.KerasTensor:
    """Two dense layers: the simpler model that a convolutional network has to beat."""
    x = layers.Dense(128, activation="relu")(_flatten(x))
    return layers.Dense(64, activation="relu")(x)


def _cnn(x: keras.KerasTensor) -> keras.KerasTensor:
    """Small convolutional network whose strides halve the picture (Springenberg et al. 2015)."""
    for filters in (16, 32, 64):
        x = layers.ReLU()(_convolution(x, filters, strides=2))
    return layers.Dense(64, activation="relu")(_flatten(x))


def _resnet(x: keras.KerasTensor) -> keras.KerasTensor:
    """Residual network after ResNet-20 for CIFAR (He et al. 2016), one block a stage."""
    x = layers.ReLU()(_convolution(x, 32))
    for filters, strides in ((32, 1), (64, 2), (128, 2)):
        shortcut = x if strides == 1 else _convolution(x, filters, strides, size=1)
        x = layers.ReLU()(_convolution(x, filters, strides))
        x = layers.ReLU()(layers.Add()([_convolution(x, filters), shortcut]))
    return layers.GlobalAveragePooling2D()(x)


ARCHITECTURES: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet": _resnet,
}
SMALLEST_SIDE = 8
