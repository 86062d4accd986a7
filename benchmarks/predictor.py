"""The predictor against the bare LiteRT interpreter that it wraps, on one image and on 32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.timing import Row, interleave
from model.inputs import Pixels
from model.manifest import FLOAT_MODEL, MODEL
from model.predictor import Predictor
from pipelines.training.dataset import ARTIFACTS, Dataset


def measure() -> Iterator[Row]:
    images = Dataset().images
    for name in (MODEL, FLOAT_MODEL):
        for size in (1, 32):
            batch = np.ascontiguousarray(images[:size])
            predict = partial(Predictor(ARTIFACTS / name).predict, batch)
            found = interleave({"bare": _bare(name, batch), "predictor": predict}, rounds=41, calls=200)
            ratio = found["predictor"] / found["bare"]
            yield (
                f"predictor, {name}, batch of {size}",
                f"{found['predictor'] * 1e6:.1f} us, {ratio:.2f} of bare",
                "at most 1.30 of bare",
            )


def _bare(name: str, batch: Pixels) -> Callable[[], object]:
    interpreter = Interpreter(model_path=str(ARTIFACTS / name), num_threads=1)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(source["index"], batch.shape)
    interpreter.allocate_tensors()
    source_index, target_index = source["index"], target["index"]

    def call() -> object:
        interpreter.set_tensor(source_index, batch)
        interpreter.invoke()
        return interpreter.get_tensor(target_index)

    return call
