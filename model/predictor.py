"""The one way from pixels to probabilities: evaluation and production run the same file through this class."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from model import ModelError
from model.inputs import Pixels, Shape

Probabilities = NDArray[np.float32]


class PredictorError(ModelError):
    """The file is not a model that this project makes, or the input does not fit it."""


class Predictor:
    """A `.tflite` classifier: uint8 [n, height, width, channels] -> float32 [n, classes].

    One interpreter a thread, made when a thread first asks: an interpreter that two threads share raises.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load the model; `threads` is what one call may use. Raises PredictorError when it is not a classifier."""
        self._path = path
        self._threads = threads
        try:
            self._content = path.read_bytes()
        except OSError as error:
            raise PredictorError(f"{path}: {error.strerror}") from error
        self._runners = threading.local()
        runner = self._runner()
        height, width, channels = runner.shape[1:]
        self.input_shape: Shape = (height, width, channels)
        self.classes = runner.classes

    def predict(self, images: Pixels) -> Probabilities:
        """Return probabilities [n, classes] of a batch; any n. Raises PredictorError for another shape or type."""
        try:
            runner = self._runners.runner
        except AttributeError:
            runner = self._runner()
        if images.shape != runner.shape:
            self._check(images)
            if len(images) == 0:
                return np.empty((0, self.classes), np.float32)
            runner.resize(images.shape)
        if images.dtype != np.uint8:
            raise PredictorError(f"expected uint8 pixels from 0 to 255, got {images.dtype}")
        interpreter = runner.interpreter
        interpreter.set_tensor(runner.input, images)
        interpreter.invoke()
        return interpreter.get_tensor(runner.output)  # type: ignore[no-any-return]

    def _check(self, images: Pixels) -> None:
        if images.ndim != 4 or images.shape[1:] != self.input_shape:
            raise PredictorError(f"expected images of {[*self.input_shape]}, got {list(images.shape[1:])}")

    def _runner(self) -> _Runner:
        try:
            self._runners.runner = _Runner(self._content, self._threads)
        except (ValueError, RuntimeError) as error:
            raise PredictorError(f"{self._path}: {error}") from error
        return self._runners.runner  # type: ignore[no-any-return]


class _Runner:
    """One thread's interpreter and the batch shape it is allocated for."""

    def __init__(self, content: bytes, threads: int) -> None:
        self.interpreter = Interpreter(model_content=content, num_threads=threads)
        (source,) = self.interpreter.get_input_details()
        (target,) = self.interpreter.get_output_details()
        if source["dtype"] is not np.uint8 or len(source["shape"]) != 4:
            raise ValueError("the input is not uint8 [n, height, width, channels]")
        if source["quantization"] not in {(0.0, 0), (1.0, 0)}:  # (scale, zero point); a scale of 0 means none
            raise ValueError(f"the input is quantized as {source['quantization']}, so raw pixels do not fit it")
        if target["dtype"] is not np.float32 or len(target["shape"]) != 2:
            raise ValueError("the output is not float32 [n, classes]")
        self.input: int = source["index"]
        self.output: int = target["index"]
        self.classes = int(target["shape"][-1])
        self.shape: tuple[int, ...] = ()
        self.resize((1, *(int(side) for side in source["shape"][1:])))

    def resize(self, shape: tuple[int, ...]) -> None:
        self.interpreter.resize_tensor_input(self.input, shape)
        self.interpreter.allocate_tensors()
        self.shape = shape
