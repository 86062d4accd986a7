# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["ai-edge-litert>=2.3", "kserve>=0.21", "msgspec>=0.22", "numpy", "pillow"]
# ///
"""KServe's Python SDK with a custom model: Open Inference Protocol over HTTP and gRPC."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

sys.path.insert(0, str(Path(__file__).parents[3]))
from model.predictor import Predictor


class Classifier(Model):
    def __init__(self, path: Path) -> None:
        super().__init__("classifier")
        self.predictor = Predictor(path)
        self.ready = True

    async def predict(self, payload: InferRequest, *_: object) -> InferResponse:
        pixels = payload.inputs[0].as_numpy().astype(np.uint8, copy=False)
        answers = self.predictor.predict(pixels)
        output = InferOutput("probabilities", list(answers.shape), "FP32")
        output.set_data_from_numpy(answers, binary_data=False)
        return InferResponse(payload.id or "", self.name, [output])


if __name__ == "__main__":
    port, grpc_port, path = sys.argv[1:4]
    sys.argv[1:] = []
    server = ModelServer(
        http_port=int(port), grpc_port=int(grpc_port), workers=1, enable_docs_url=False, access_log_format=None
    )
    server.start([Classifier(Path(path))])
