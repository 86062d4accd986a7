# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["ai-edge-litert>=2.3", "litserve>=0.2", "msgspec>=0.22", "numpy", "pillow"]
# ///
"""LitServe with a custom API."""

import sys
from pathlib import Path
from typing import Any

import litserve as ls
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3]))
from model.predictor import Predictor


class Classifier(ls.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 (as LitServe has it)
        self.predictor = Predictor(Path(sys.argv[3]))

    def decode_request(self, request: dict) -> np.ndarray:
        return np.array(request["images"], np.uint8)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.predictor.predict(x)

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = ls.LitServer(Classifier(), accelerator="cpu")
    server.run(port=int(sys.argv[1]), host="127.0.0.1", log_level="warning", generate_client_file=False)
