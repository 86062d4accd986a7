# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["kserve>=0.21", "tritonclient[grpc,http]>=2.73"]
# ///
"""Clients that we did not write, in an environment of their own; `uv lock --script` pins it beside this file.

uv run --locked --script tests/serving/clients.py NAME URL GRPC_ADDRESS IMAGES.npy ANSWERS.npy
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

BATCH = 64


def tritonclient_http(url: str, images: np.ndarray, *, binary: bool = True) -> np.ndarray:
    import tritonclient.http as triton  # noqa: PLC0415 (not installed where tests are)

    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("classifier")
        tensor = triton.InferInput("images", images.shape, "UINT8")
        tensor.set_data_from_numpy(images, binary_data=binary)
        outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary)] if not binary else None
        result = client.infer("classifier", [tensor], outputs=outputs, request_compression_algorithm="gzip")
        return result.as_numpy("probabilities")


def tritonclient_grpc(address: str, images: np.ndarray) -> np.ndarray:
    import tritonclient.grpc as triton  # noqa: PLC0415 (not installed where tests are)

    with triton.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_model_ready("classifier")
        assert client.get_model_metadata("classifier").inputs[0].name == "images"
        tensor = triton.InferInput("images", images.shape, "UINT8")
        tensor.set_data_from_numpy(images)
        return client.infer("classifier", [tensor]).as_numpy("probabilities")


def kserve_rest(url: str, images: np.ndarray) -> np.ndarray:
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig  # noqa: PLC0415 (as above)

    async def ask() -> np.ndarray:
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "classifier")
        tensor = InferInput("images", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images, binary_data=False)
        answer = await client.infer(url, InferRequest("classifier", [tensor]), model_name="classifier")
        return answer.outputs[0].as_numpy()

    return asyncio.run(ask())


def main(name: str, url: str, address: str, source: str, target: str) -> None:
    images = np.load(source)
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    ask = {
        "tritonclient-http": lambda batch: tritonclient_http(url, batch),
        "tritonclient-http-json": lambda batch: tritonclient_http(url, batch, binary=False),
        "tritonclient-grpc": lambda batch: tritonclient_grpc(address, batch),
        "kserve-rest": lambda batch: kserve_rest(url, batch),
    }[name]
    np.save(target, np.concatenate([ask(batch) for batch in batches]))


if __name__ == "__main__":
    main(*sys.argv[1:])
