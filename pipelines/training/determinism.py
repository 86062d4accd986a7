"""Same seed, same thread count, same kind of processor: same bytes."""

from __future__ import annotations

import keras
import tensorflow as tf

from pipelines import params


def make_deterministic(settings: params.Train) -> None:
    """Seed every generator and pin the thread count, on which the order of floating-point sums depends."""
    keras.utils.clear_session()  # layers are named by a counter, and the names are in the files
    keras.utils.set_random_seed(settings.seed)
    if tf.config.threading.get_intra_op_parallelism_threads() != settings.threads:
        tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.experimental.enable_op_determinism()
