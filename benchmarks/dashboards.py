"""What dashboards look like: each query is asked of a real Prometheus that watches servers under load, and is drawn.

python -m benchmarks.dashboards                docs/dashboards/*.png, in some minutes
python -m benchmarks.dashboards --minutes 1    a first look, after changing monitoring/panels/

Halfway the images lose contrast, so that there is drift to be seen.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from rich.progress import track

from benchmarks import grafana
from pipelines.command import PipelineError, run
from pipelines.operations import dashboards, panels, rules
from pipelines.training.corruptions import CORRUPTIONS
from pipelines.training.dataset import ARTIFACTS, Dataset
from tests.system.watched import PROGRAMS, watched

FOLDER = Path("docs", "dashboards")
RATE = 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4, help="of load (default: %(default)g)")
    minutes = parser.parse_args().minutes
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise PipelineError(f"{', '.join(missing)} missing: Debian has packages of these names")
    dataset = Dataset()
    images = dataset.images[dataset.indices("test")]
    described = panels.load(rules.load())
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder), ARTIFACTS, images, RATE) as found:
        for second in track(range(int(60 * minutes)), "load"):
            time.sleep(1)
            if second > 30 * minutes:
                found.traffic.change = lambda pictures: CORRUPTIONS["contrast"](pictures, 0.3)
        for name, one in described.items():
            grafana.draw(dashboards.render(name, one), found.prometheus, 60 * minutes, FOLDER / f"{name}.png")


if __name__ == "__main__":
    run(main)
