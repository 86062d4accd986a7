# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["ai-edge-litert>=2.3", "mlserver>=1.7", "msgspec>=0.22", "numpy", "pillow"]
# ///
"""MLServer with a custom runtime: Open Inference Protocol over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

sys.path.insert(0, str(Path(__file__).parents[3]))
from model.predictor import Predictor


class Classifier(MLModel):
    async def load(self) -> bool:
        self.predictor = Predictor(Path(sys.argv[3]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        pixels = NumpyCodec.decode_input(payload.inputs[0]).astype(np.uint8, copy=False)
        answers = self.predictor.predict(pixels)
        output = NumpyCodec.encode_output("probabilities", answers)
        return InferenceResponse(model_name=self.name, outputs=[output])


async def serve(port: int, grpc_port: int) -> None:
    settings = Settings(
        http_port=port,
        grpc_port=grpc_port,
        metrics_port=grpc_port + 1,
        parallel_workers=0,
        debug=False,
        host="127.0.0.1",
    )
    server = MLServer(settings)
    await server.start([ModelSettings(name="classifier", implementation=Classifier)])


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
