"""Load from wrk over HTTP/1.1 and h2load over gRPC, on a core of their own."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.contenders import Body, Contender
from model.inputs import Pixels
from pipelines.command import PipelineError

UNITS = {"us": 1e-3, "ms": 1, "s": 1e3}


class Speed(NamedTuple):
    """Requests a second, and the latency in milliseconds that 99 of 100 stay under."""

    rate: float
    p99: float


def need() -> None:
    """Raise PipelineError when a program is missing."""
    for program, package in (("wrk", "wrk"), ("h2load", "nghttp2-client"), ("taskset", "util-linux")):
        if not shutil.which(program):
            raise PipelineError(f"{program} is missing: apt-get install {package}")


def wrk(contender: Contender, body: Body, connections: int, seconds: int, core: str) -> Speed:
    """Raise PipelineError when an answer is no 2xx."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(body.content)
        lines = [f'local file = io.open("{folder}/body", "rb")', 'wrk.body = file:read("*a")', 'wrk.method = "POST"']
        lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in body.headers.items()]
        script = Path(folder) / "request.lua"
        script.write_text("\n".join(lines))
        command = [
            "taskset",
            "-c",
            core,
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "--timeout=9s",
        ]
        text = subprocess.check_output([*command, "-s", str(script), contender.url], text=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if "Non-2xx" in text or not rate or not p99:
        raise PipelineError(f"{contender.name} did not answer every request:\n{text}")
    return Speed(float(rate[1]), float(p99[1]) * UNITS[p99[2]])


def h2load(contender: Contender, images: Pixels, connections: int, seconds: int, core: str) -> Speed:
    """Raise PipelineError when an answer is no 2xx."""
    from serving.protocols import open_inference_pb2 as pb  # noqa: PLC0415 (generated, and here alone)

    tensor = pb.ModelInferRequest.InferInputTensor(name="images", datatype="UINT8", shape=images.shape)
    request = pb.ModelInferRequest(model_name="classifier", inputs=[tensor], raw_input_contents=[images.tobytes()])
    message = request.SerializeToString()
    with tempfile.NamedTemporaryFile() as file:
        file.write(struct.pack(">BI", 0, len(message)) + message)
        file.flush()
        url = f"http://127.0.0.1:{contender.grpc_port}/inference.GRPCInferenceService/ModelInfer"
        command = ["taskset", "-c", core, "h2load", "-t1", f"-c{connections}", "-m1", f"-D{seconds}", "-d", file.name]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", url]
        text = subprocess.check_output(command, text=True)
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", text)
    rate = re.search(r"finished in [\d.]+s, ([\d.]+) req/s", text)
    if not counts or not rate or int(counts[1]) == 0 or int(counts[2]):
        raise PipelineError(f"{contender.name} did not answer every request:\n{text}")
    return Speed(float(rate[1]), float("nan"))
