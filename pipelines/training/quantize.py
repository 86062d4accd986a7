"""Stage `quantize`: trained weights become the `.tflite` that ships, its float32 reference and their manifest.

    dvc repro quantize

A conversion can go wrong without a word: an untrained graph, or random layers baked in. So the files themselves
are run and held against the trained network before they are written.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import msgspec
import numpy as np
import tensorflow as tf

from model import manifest, network
from model.inputs import Pixels
from model.manifest import FLOAT_MODEL, MODEL
from model.predictor import Predictor, Probabilities
from pipelines import params
from pipelines.command import PipelineError, run
from pipelines.training import split
from pipelines.training.dataset import ARTIFACTS, WEIGHTS, Dataset
from pipelines.training.determinism import make_deterministic
from pipelines.training.schema import Schema

MAX_REFERENCE_ERROR = 1e-3
"""Largest difference of a probability between the network and its float32 file: conversion only reorders sums."""

UNDECIDED = 4 / 256
"""Difference of two probabilities, in steps of an int8 answer, up to which their order may change."""

Convert = Callable[[keras.Model, str, Pixels], bytes]


def convert(model: keras.Model, scheme: str, calibration: Pixels) -> bytes:
    """Return a `.tflite` with uint8 pixels in and float32 probabilities out.

    scheme: int8 (all integer, weights per channel), dynamic (int8 weights), float16 (weights) or none (float32);
    calibration: images [n, height, width, channels] from which int8 takes the ranges of activations.
    """
    with tempfile.TemporaryDirectory() as folder:
        network_of_scheme = model if scheme == "int8" else _taking_uint8(model)
        network_of_scheme.export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if scheme != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if scheme == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if scheme == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
            converter.inference_output_type = tf.float32
            converter.representative_dataset = partial(_calibrate, calibration)
        return bytes(converter.convert())


def _taking_uint8(model: keras.Model) -> keras.Model:
    pixels = keras.Input(model.input_shape[1:], dtype="uint8", name="pixels")
    return keras.Model(pixels, model(keras.ops.cast(pixels, "float32")))


def _calibrate(images: Pixels) -> Iterator[list[np.ndarray]]:
    # One black and one white pixel pin the input's range to 0..255: its scale is then 1 and its zero point 0, and
    # raw pixels go straight in.
    extreme = images[0].copy()
    extreme[0, 0], extreme[0, 1] = 0, 255
    for image in (extreme, *images):
        yield [image[np.newaxis].astype(np.float32)]


def check(path: Path, expected: Probabilities, images: Pixels, least: float, limit: float) -> float:
    """Return the share of images [n, ...] on which a file's class is that of the expected probabilities [n, k].

    Images between two classes that the network itself hardly tells apart are left out. Raises PipelineError when the
    file answers differently a second time, when it agrees on less than `least`, or when a probability is off by more
    than `limit`.
    """
    predictor = Predictor(path)
    answers, again = (_predict(predictor, images) for _ in range(2))
    if not np.array_equal(answers, again):
        raise PipelineError(f"{path.name} answers the same images differently each time: random layers were exported")
    second, first = np.sort(expected, axis=1)[:, -2:].T
    decided = first - second > UNDECIDED
    same = answers.argmax(axis=1) == expected.argmax(axis=1)
    agreement = float(np.mean(same | ~decided))
    error = float(np.abs(answers - expected).max())
    if agreement < least or not error <= limit:
        raise PipelineError(
            f"{path.name} is not the network that was trained: same class on {agreement:.1%} of {len(images)} images "
            f"(quantize.min_agreement in params.yaml: {least:.1%}), probabilities off by up to {error:.2g} (at most "
            f"{limit:g}). Try another quantize.scheme or more calibration_examples"
        )
    return agreement


def _predict(predictor: Predictor, images: Pixels) -> Probabilities:
    return np.concatenate([predictor.predict(images[start : start + 32]) for start in range(0, len(images), 32)])


def quantize(
    dataset: Dataset, weights: Path, folder: Path, settings: params.Params, convert: Convert = convert
) -> dict[str, float]:
    """Write both files and their manifest, and return each file's agreement with the trained network.

    Raises NetworkError for weights that do not fit, and PipelineError for a conversion that failed; the folder is then
    as it was.
    """
    make_deterministic(settings.train)
    schema = dataset.schema
    # Built anew, without what training wrapped around it.
    model = network.build(settings.train.network, schema.input_shape, len(schema.labels))
    network.load_weights(model, weights)
    images = _pick(dataset, settings)
    expected = model.predict(images.astype(np.float32), verbose=0)
    plan = {
        FLOAT_MODEL: ("none", 1 - 1 / len(images), MAX_REFERENCE_ERROR),
        MODEL: (settings.quantize.scheme, settings.quantize.min_agreement, 1.0),
    }
    folder.mkdir(parents=True, exist_ok=True)
    agreements: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".quantize-") as temporary:
        work = Path(temporary)
        for name, (scheme, least, limit) in plan.items():
            (work / name).write_bytes(convert(model, scheme, images))
            agreements[name] = check(work / name, expected, images, least, limit)
        (work / manifest.NAME).write_bytes(manifest.encode(_describe(schema, settings, work)))
        for name in (*plan, manifest.NAME):
            (work / name).replace(folder / name)
    return agreements


def _pick(dataset: Dataset, settings: params.Params) -> Pixels:
    training = dataset.indices(split.TRAIN)
    generator = np.random.default_rng(settings.train.seed)
    count = min(settings.quantize.calibration_examples, len(training))
    chosen: Pixels = dataset.images[np.sort(generator.choice(training, count, replace=False))]
    return chosen


def _describe(schema: Schema, settings: params.Params, folder: Path) -> manifest.Manifest:
    sections = {"prepare": settings.prepare, "train": settings.train, "quantize": settings.quantize}
    return manifest.Manifest(
        labels=schema.labels,
        input_shape=schema.input_shape,
        scheme=settings.quantize.scheme,
        data_sha256=schema.data_sha256,
        params=msgspec.to_builtins(sections),
        files={name: manifest.sha256(folder / name) for name in (MODEL, FLOAT_MODEL)},
    )


def main() -> None:
    agreements = quantize(Dataset(), WEIGHTS, ARTIFACTS, params.load())
    for name, agreement in agreements.items():
        size = (ARTIFACTS / name).stat().st_size
        print(f"quantize: {name}: {size:,} bytes, same class as the trained network on {agreement:.1%} of images")


if __name__ == "__main__":
    run(main)
