# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["ai-edge-litert>=2.3", "bentoml>=1.4", "msgspec>=0.22", "numpy", "pillow"]
# ///
"""BentoML with a service class."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bentoml
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from model.predictor import Predictor


@bentoml.service(workers=1, metrics={"enabled": True}, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        self.predictor = Predictor(Path(os.environ["MODEL"]))

    @bentoml.api
    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.predictor.predict(images.astype(np.uint8))


if __name__ == "__main__":
    os.environ["MODEL"] = sys.argv[3]
    os.chdir(Path(__file__).parent)
    command = [sys.executable, "-m", "bentoml", "serve", "on_bentoml:Classifier", "--port", sys.argv[1]]
    os.execv(sys.executable, command)  # noqa: S606 (no shell is needed)
