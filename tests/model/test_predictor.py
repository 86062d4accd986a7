"""model.predictor: the same probabilities for any batch, thread and order of calls."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from model.inputs import Pixels
from model.manifest import FLOAT_MODEL, MODEL
from model.predictor import Predictor, PredictorError
from pipelines.training.dataset import Dataset


@pytest.fixture(scope="module")
def images(trained: Path) -> Pixels:
    dataset = Dataset(trained / "dataset")
    return dataset.images[dataset.indices("test")]


@pytest.mark.parametrize("name", [MODEL, FLOAT_MODEL])
def test_equals_the_bare_interpreter(trained: Path, images: Pixels, name: str) -> None:
    """The wrapper adds nothing to what LiteRT answers."""
    interpreter = Interpreter(model_path=str(trained / name), num_threads=1)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(source["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], images)
    interpreter.invoke()
    assert np.array_equal(Predictor(trained / name).predict(images), interpreter.get_tensor(target["index"]))


def test_any_batch_size_gives_the_same_bits(trained: Path, images: Pixels) -> None:
    """One by one, in uneven batches or all at once: the quantized model answers alike, bit for bit."""
    predictor = Predictor(trained / MODEL)
    whole = predictor.predict(images)
    assert np.array_equal(whole, np.concatenate([predictor.predict(images[i : i + 1]) for i in range(len(images))]))
    assert np.array_equal(
        whole, np.concatenate([predictor.predict(images[i : i + 7]) for i in range(0, len(images), 7)])
    )


def test_threads_share_a_predictor(trained: Path, images: Pixels) -> None:
    """Many threads at once with different batch sizes get the answers that one thread gets."""
    predictor = Predictor(trained / MODEL)
    expected = predictor.predict(images)
    barrier = threading.Barrier(8)

    def work(worker: int) -> bool:
        barrier.wait()
        return all(
            np.array_equal(predictor.predict(images[start : start + worker + 1]), expected[start : start + worker + 1])
            for start in range(200)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_an_answer_is_not_overwritten_by_the_next(trained: Path, images: Pixels) -> None:
    """What was returned stays, whatever is asked afterwards."""
    predictor = Predictor(trained / MODEL)
    first = predictor.predict(images[:1])
    kept = first.copy()
    predictor.predict(images[1:2])
    assert np.array_equal(first, kept)


def test_an_empty_batch_gives_no_rows(trained: Path) -> None:
    """Nothing in, nothing out: not an error."""
    predictor = Predictor(trained / MODEL)
    assert predictor.predict(np.empty((0, 12, 12, 1), np.uint8)).shape == (0, 10)
    assert predictor.input_shape == (12, 12, 1)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 28, 28, 1), np.uint8), r"expected images of \[12, 12, 1\], got \[28, 28, 1\]"),
        (np.zeros((12, 12, 1), np.uint8), r"expected images of \[12, 12, 1\]"),
        (np.zeros((1, 12, 12, 1), np.float32), "expected uint8"),
        (np.zeros((3, 12, 12, 1), np.int64), "expected uint8"),
    ],
)
def test_other_shapes_and_types_are_refused(trained: Path, batch: Pixels, message: str) -> None:
    """A batch that does not fit is refused in words, and the next good one is answered."""
    predictor = Predictor(trained / MODEL)
    with pytest.raises(PredictorError, match=message):
        predictor.predict(batch)
    assert predictor.predict(np.zeros((1, 12, 12, 1), np.uint8)).shape == (1, 10)


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """An empty, foreign or missing file is named in the error."""
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PredictorError, match=r"model\.tflite"):
        Predictor(path)
