"""Put the uv that uv.lock pins at the given path, with nothing but Python's standard library: no pip, no venv.

python3 .ci/bootstrap.py .tools/uv
"""

from __future__ import annotations

import hashlib
import io
import platform
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

TAGS = {
    ("Linux", "x86_64"): "manylinux_2_17_x86_64",
    ("Linux", "aarch64"): "manylinux_2_17_aarch64",
    ("Darwin", "x86_64"): "macosx_10_12_x86_64",
    ("Darwin", "arm64"): "macosx_11_0_arm64",
}
BY_HAND = "install uv by hand (https://docs.astral.sh/uv/) and run make again"


def main(target: Path) -> None:
    try:
        import tomllib  # noqa: PLC0415 (new in Python 3.11)
    except ModuleNotFoundError:
        sys.exit(f"error: Python 3.11 or newer is needed, this is {platform.python_version()}: make PYTHON=python3.12")
    lock = tomllib.loads(Path("uv.lock").read_text())
    wheel = _pinned_wheel(lock)
    algorithm, _, expected = wheel["hash"].partition(":")
    print(f"fetching {wheel['url'].rpartition('/')[2]}", flush=True)
    try:
        with urllib.request.urlopen(wheel["url"], timeout=60) as response:  # noqa: S310 (an https address in uv.lock)
            content = response.read()
    except (urllib.error.URLError, TimeoutError) as error:
        sys.exit(f"error: {wheel['url']}: {error}: {BY_HAND}")
    if hashlib.new(algorithm, content).hexdigest() != expected:
        sys.exit(f"error: {wheel['url']} is not the file that uv.lock pins: its {algorithm} differs")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        binary = archive.read(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    partial.write_bytes(binary)
    partial.chmod(0o755)
    partial.replace(target)


def _pinned_wheel(lock: dict[str, Any]) -> dict[str, str]:
    machine = (platform.system(), platform.machine())
    (package,) = (package for package in lock["package"] if package["name"] == "uv")
    for wheel in package["wheels"]:
        if machine in TAGS and TAGS[machine] in wheel["url"]:
            return dict(wheel)
    sys.exit(f"error: no uv for {' '.join(machine)} in uv.lock: {BY_HAND}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
