"""How fast releases are published and backups made, on an S3 service of yours; the table goes into docs/releases.md.

python -m benchmarks.releases s3://bucket/folder                 about five minutes and 40 GB of disk
python -m benchmarks.releases s3://bucket/folder --size 1e9      a smaller data set
python -m benchmarks.releases s3://bucket/folder --dry           does not write the page

Publishing is held beside a bare boto3 transfer of the same file, in turns. The folder is emptied at the end.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import page
from pipelines import s3
from pipelines.command import PipelineError, run
from pipelines.delivery.upload import upload
from pipelines.s3 import Folder

PAGE = Path("docs", "releases.md")
IDENTITY = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.com")
BUNDLE = 500_000_000  # bytes
FILES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", help="an empty folder, s3://bucket/folder")
    parser.add_argument("--size", type=float, default=10e9, help="bytes of the data set (default: %(default)g)")
    parser.add_argument("--repeats", type=int, default=5, help="transfers of each kind (default: %(default)s)")
    parser.add_argument("--dry", action="store_true", help="only print")
    options = parser.parse_args()
    place = s3.folder(options.place)
    if place.objects():
        raise PipelineError(f"{place} is not empty: name a folder that is")
    try:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            lines = publishing(place, Path(folder), options.repeats)
            lines += ["", *backups(options.place, Path(folder), int(options.size))]
    finally:
        place.delete(place.objects())
    print("\n".join(lines))
    if not options.dry:
        page.write(PAGE, "times", lines)


def publishing(place: Folder, folder: Path, repeats: int) -> list[str]:
    """Return the table of a bundle's upload beside boto3's own."""
    file = folder / "bundle.tar"
    _write(file, BUNDLE, seed=0)
    seconds: dict[str, list[float]] = {"boto3": [], "slipway": []}
    for number in range(repeats):
        started = time.perf_counter()
        place.client.upload_file(str(file), place.bucket, place.key(f"boto3-{number}"))
        seconds["boto3"].append(time.perf_counter() - started)
        started = time.perf_counter()
        upload(file, place, f"slipway-{number}", lambda _: None)
        seconds["slipway"].append(time.perf_counter() - started)
        place.delete([f"boto3-{number}", f"slipway-{number}"])
    bare, ours = (statistics.median(seconds[name]) for name in ("boto3", "slipway"))
    ratio = statistics.median(one / other for one, other in zip(seconds["slipway"], seconds["boto3"], strict=True))
    return [
        f"| upload of {BUNDLE / 1e6:.0f} MB | MB a second |",
        "| --- | ---: |",
        f"| `make release` | {BUNDLE / 1e6 / ours:.0f} |",
        f"| boto3's `upload_file` | {BUNDLE / 1e6 / bare:.0f} |",
        "",
        f"Ratio of times {ratio:.2f}, the median of {repeats} pairs.",
    ]


def backups(place: str, folder: Path, size: int) -> list[str]:
    """Return the table of the first backup of a data set, of one after a file of it changed, and of one after none."""
    project = folder / "project"
    (project / "data").mkdir(parents=True)
    for number in range(FILES):
        _write(project / "data" / f"{number:02}.parquet", size // FILES, seed=number)
    text = Path("delivery.yaml").read_text()
    text = re.sub(r"^releases: .*$", "releases: null", text, flags=re.MULTILINE)
    text = re.sub(r"^  bucket: .*$", f"  bucket: {place}/backup", text, flags=re.MULTILINE)
    (project / "delivery.yaml").write_text(text)
    _call(project, "git", "init", "--quiet", "--initial-branch=main")
    _call(project, sys.executable, "-m", "dvc", "init", "--quiet")
    rows = []
    for name, change in (("the first", None), (f"one of {FILES} files changed", 0), ("nothing changed", None)):
        if change is not None:
            _write(project / "data" / "00.parquet", size // FILES, seed=1000)
        _call(project, sys.executable, "-m", "dvc", "add", "--quiet", "data")
        _call(project, "git", "add", "--all")
        _call(project, "git", *IDENTITY, "commit", "--quiet", "--allow-empty", "--message", name)
        started = time.perf_counter()
        printed = _call(project, sys.executable, "-m", "pipelines.recovery.backup")
        seconds = time.perf_counter() - started
        copied = int(printed.split("of which ")[1].split(" are new")[0].replace(",", ""))
        rows.append(f"| {name} | {copied:,} | {seconds:.1f} s |")
    return [f"| backup of {size / 1e9:.0f} GB | bytes copied | time |", "| --- | ---: | ---: |", *rows]


def _write(path: Path, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    with path.open("wb") as file:
        for start in range(0, size, 50_000_000):
            file.write(random.bytes(min(50_000_000, size - start)))


def _call(folder: Path, *command: str) -> str:
    own = os.environ | {"PYTHONPATH": str(Path.cwd())}
    result = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)
    if result.returncode:
        raise PipelineError(f"{' '.join(command)}: {result.stderr}")
    return result.stdout


if __name__ == "__main__":
    run(main)
