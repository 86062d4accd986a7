"""The demonstration: real handwriting that needs no download."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from pipelines.training.encoding import encode
from pipelines.training.sources.base import Read


class Digits:
    """1,797 handwritten digits of 8x8 pixels that come with scikit-learn (Alpaydin and Kaynak 1998)."""

    name = "digits"

    def paths(self) -> Iterator[str]:
        for path, _ in self.files():
            yield path

    def files(self) -> Iterator[tuple[str, Read]]:
        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], from 0 to 16
        for position, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
            yield f"{label}/{position:04}.png", partial(encode, Image.fromarray(image))
