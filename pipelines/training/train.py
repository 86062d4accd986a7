"""Stage `train`: the prepared data set becomes network weights and a training history.

    dvc repro train                                  all of it
    python -m pipelines.training.train               this stage alone, on what `prepare` left

Same seed, same thread count, same kind of processor: same bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from model import network
from pipelines import params
from pipelines.command import PipelineError, atomic, run
from pipelines.training import split
from pipelines.training.dataset import ARTIFACTS, WEIGHTS, Dataset
from pipelines.training.determinism import make_deterministic

HISTORY = ARTIFACTS / "history.csv"


def train(dataset: Dataset, settings: params.Train, weights: Path, history: Path) -> float:
    """Train, keep the weights of the epoch with the best validation loss, and return its validation accuracy.

    Raises NetworkError for initial weights that do not fit, and PipelineError when the loss is no longer a number.
    """
    make_deterministic(settings)
    schema = dataset.schema
    model = network.build(settings.network, schema.input_shape, len(schema.labels), settings.dropout)
    if settings.initial_weights:
        network.load_weights(model, Path(settings.initial_weights))
    # The network stands inside what is trained, so that its own weights can be saved without the random layers.
    learner = keras.Sequential([keras.Input(schema.input_shape), *augmentation(settings.augment, settings.seed), model])
    training = dataset.indices(split.TRAIN)
    steps = -(-len(training) // settings.batch_size)
    learner.compile(
        optimizer=keras.optimizers.Adam(schedule(settings, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    history.parent.mkdir(parents=True, exist_ok=True)
    with atomic(history) as log:
        record = learner.fit(
            feed(dataset, training, settings.batch_size, settings.seed),
            validation_data=feed(dataset, dataset.indices(split.VALIDATION), settings.batch_size),
            epochs=settings.epochs,
            class_weight=class_weights(dataset.targets[training], settings),
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                keras.callbacks.EarlyStopping(patience=settings.patience, restore_best_weights=True),
                keras.callbacks.CSVLogger(log),
            ],
            shuffle=False,  # the feed shuffles
            verbose="auto" if os.isatty(1) else 2,
        ).history
    if not np.isfinite(record["loss"][-1]):
        raise PipelineError("the loss is no longer a number: lower train.learning_rate in params.yaml")
    with atomic(weights) as path:
        model.save_weights(path)
    best = int(np.argmin(record["val_loss"]))
    return float(record["val_accuracy"][best])


def feed(dataset: Dataset, indices: NDArray[np.int64], batch_size: int, seed: int | None = None) -> tf.data.Dataset:
    """Return batches (float32 [b, height, width, channels], int64 [b]) from the memory-mapped images.

    With a seed the order changes every epoch, in the same way every run.
    """
    images, targets = dataset.images, dataset.targets

    def load(batch: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return images[batch].astype(np.float32), targets[batch]

    def fetch(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(load, [batch], [tf.float32, tf.int64], stateful=False)
        return tf.ensure_shape(x, (None, *dataset.schema.input_shape)), tf.ensure_shape(y, (None,))

    order = tf.data.Dataset.from_tensor_slices(indices)
    if seed is not None:
        order = order.shuffle(len(indices), seed=seed, reshuffle_each_iteration=True)
    return order.batch(batch_size).map(fetch).prefetch(2)


def augmentation(settings: params.Augment, seed: int) -> list[layers.Layer]:
    """Return the random layers that settings ask for: they act in training and never reach what is saved."""
    changes = []
    if settings.horizontal_flip:
        changes.append(layers.RandomFlip("horizontal", seed=seed))
    if settings.shift:
        changes.append(layers.RandomTranslation(settings.shift, settings.shift, fill_mode="nearest", seed=seed))
    if settings.rotation:
        changes.append(layers.RandomRotation(settings.rotation / 360, fill_mode="nearest", seed=seed))
    if settings.zoom:
        changes.append(layers.RandomZoom(settings.zoom, fill_mode="nearest", seed=seed))
    if settings.brightness:
        changes.append(layers.RandomBrightness(settings.brightness, value_range=(0, 255), seed=seed))
    if settings.contrast:
        both_ways = (settings.contrast, settings.contrast)  # from one number Keras only ever adds contrast
        changes.append(layers.RandomContrast(both_ways, value_range=(0, 255), seed=seed))
    return changes


def schedule(settings: params.Train, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up, then a cosine to zero (Loshchilov and Hutter 2017), in optimizer steps."""
    warmup = round(settings.warmup_epochs * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 10 if warmup else settings.learning_rate,
        decay_steps=max(settings.epochs * steps - warmup, 1),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def class_weights(targets: NDArray[np.int64], settings: params.Train) -> dict[int, float] | None:
    if settings.class_weights == "none":
        return None
    classes = np.unique(targets)
    weights = compute_class_weight("balanced", classes=classes, y=targets)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


def main() -> None:
    accuracy = train(Dataset(), params.load().train, WEIGHTS, HISTORY)
    print(f"train: validation accuracy {accuracy:.4f}, weights in {WEIGHTS}")


if __name__ == "__main__":
    run(main)
