"""Full load with swaps of the release and killed workers: nothing wrong, nothing lost but with a worker, memory flat.

python -m benchmarks.serving.soak --minutes 10 --plot docs/soak.png
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.serving.contenders import FIRST_PORT, Body, open_inference, pictures
from benchmarks.serving.load import Load
from model import manifest
from model.manifest import FLOAT_MODEL, MODEL
from model.predictor import Predictor
from pipelines.command import PipelineError, run
from pipelines.training.dataset import ARTIFACTS

PORT, METRICS = FIRST_PORT + 950, FIRST_PORT + 952
SWAP_EVERY, KILL_EVERY = 10, 23
CLIENTS, FILLERS = 4, 16
RELEASES = {"v1.0.0": MODEL, "v2.0.0": FLOAT_MODEL}


@dataclass
class History:
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    swaps: list[float] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long [10]")
    parser.add_argument("--plot", type=Path, help="PNG file for memory over time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for version, file in RELEASES.items():
            _release(Path(folder) / version, version, file)
        found, history = _soak(Path(folder), given.minutes * 60)
    if given.plot:
        _draw(history, given.plot)
    third = len(history.megabytes) // 3
    early, late = max(history.megabytes[: 2 * third]), max(history.megabytes[2 * third :])
    print(f"{found.answered.total():,} checked answers, {dict(found.answered)}; {len(history.swaps)} swaps,")
    print(f"{len(history.kills)} killed workers; {len(found.wrong)} wrong, {len(found.lost)} lost with a worker;")
    print(f"memory of both workers at most {early:.0f} MB, in the last third {late:.0f} MB")
    allowed = CLIENTS * len(history.kills)
    if found.wrong or found.refused or len(found.lost) > allowed or late > 1.1 * early:
        raise PipelineError(f"this is not sound: {(found.wrong + found.refused + found.lost)[:5]}")


def _release(folder: Path, version: str, file: str) -> None:
    folder.mkdir()
    shutil.copy(ARTIFACTS / file, folder / MODEL)
    described = json.loads((ARTIFACTS / manifest.NAME).read_text())
    described |= {"version": version, "files": {MODEL: manifest.sha256(folder / MODEL)}}
    (folder / manifest.NAME).write_text(json.dumps(described))


def _soak(folder: Path, seconds: float) -> tuple[Load, History]:
    current = folder / "current"
    current.symlink_to(folder / "v1.0.0")
    settings = {
        "MODEL": current,
        "PORT": PORT,
        "GRPC": "false",
        "METRICS_PORT": METRICS,
        "WORKERS": 2,
        "DRAIN": 0,
    }
    environment = os.environ | {f"SLIPWAY_{name}": str(value) for name, value in settings.items()}
    server = subprocess.Popen([sys.executable, "-m", "serving"], env=environment, stdout=subprocess.DEVNULL)
    images = pictures(64)
    predictors = {version: Predictor(folder / version / MODEL) for version in RELEASES}
    filler = None
    try:
        _until_ready()
        filler = _fill(open_inference(images[:1]), folder, seconds)
        with Load(PORT, images, predictors).run(CLIENTS) as found:
            history = _disturb(server, current, seconds)
        return found, history
    finally:
        if filler:
            filler.terminate()
        server.terminate()
        server.wait()


def _until_ready() -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v2/health/ready").close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise PipelineError("the server did not start")


def _fill(body: Body, folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    """Keep the server busy beyond what checking clients can."""
    (folder / "body").write_bytes(body.content)
    (folder / "post.lua").write_text(
        f'local file = io.open("{folder}/body", "rb"); wrk.body = file:read("*a"); wrk.method = "POST"'
    )
    command = ["wrk", "-t1", f"-c{FILLERS}", f"-d{int(seconds)}s", "-s", str(folder / "post.lua")]
    return subprocess.Popen(
        [*command, f"http://127.0.0.1:{PORT}/v2/models/classifier/infer"], stdout=subprocess.DEVNULL
    )


def _disturb(server: subprocess.Popen[bytes], current: Path, seconds: float) -> History:
    history = History()
    started = time.monotonic()
    for second in track(range(1, int(seconds) + 1), "Soaking", console=Console(stderr=True)):
        time.sleep(max(0.0, started + second - time.monotonic()))
        if second % SWAP_EVERY == 0:
            new = current.with_name("new")
            new.symlink_to(current.with_name("v2.0.0" if len(history.swaps) % 2 == 0 else "v1.0.0"))
            new.replace(current)
            server.send_signal(signal.SIGHUP)
            history.swaps.append(second)
        if second % KILL_EVERY == 0:
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            os.kill(int(random.choice(children)), signal.SIGKILL)  # noqa: S311 (no secret)
            history.kills.append(second)
        with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics") as answer:
            text = answer.read().decode()
        if found := re.search(r"^slipway_worker_resident_memory_bytes (\S+)$", text, re.MULTILINE):
            history.seconds.append(second)
            history.megabytes.append(float(found[1]) / 1e6)
    return history


def _draw(history: History, path: Path) -> None:
    from matplotlib import pyplot as plt  # noqa: PLC0415 (slow, and the numbers do without)

    figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
    axes.plot(history.seconds, history.megabytes, color="#3b82f6")
    axes.vlines(history.kills, 0, 1, transform=axes.get_xaxis_transform(), color="#dc2626", alpha=0.5, lw=0.8)
    axes.plot(history.swaps, [2] * len(history.swaps), "|", color="#888888")
    axes.set(
        xlabel="seconds (red: a worker was killed; grey ticks: a swap)", ylabel="MB of both workers", ylim=(0, None)
    )
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    run(main)
