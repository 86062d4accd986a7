"""Install the server of a release on a host that has Python and nothing else: no registry, no compiler, no pip.

python3 v1.2.3/server/install.py /opt/digits/v1.2.3

The packages come with the release, each with its hash; the folder is an environment whose bin/python serves.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from importlib.util import source_from_cache, source_hash
from pathlib import Path

SERVER = Path(__file__).resolve().parent
# Of the packages, what no server touches and what would be a sixth of its size: other processors, tools, tests.
UNUSED = (
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "ai_edge_litert/tools",
    "ai_edge_litert/vendors",
    "numpy/**/tests",
    "uvloop/*.c",
)
ENTRY = (
    "import serving.supervisor, serving.worker, serving.protocols.rpc, serving.auth, serving.signature, serving.client,"
    " serving.samples, serving.traces, requests"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to; it must not be there yet")
    folder = parser.parse_args().folder.absolute()
    if folder.exists():
        sys.exit(f"error: {folder} is there already: remove it, or choose another folder")
    partial = folder.with_name(f".partial.{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        install(partial)
        partial.rename(folder)
    except OSError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError:
        host = f"Python {sys.version_info.major}.{sys.version_info.minor} on {os.uname().machine}"
        sys.exit(f"error: not installed, see above; `hosts` in delivery.yaml says whether a release is for {host}")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def install(folder: Path) -> None:
    """Make an environment from the release's own packages. Raises CalledProcessError when one does not fit."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (pip,) = (SERVER / "wheels").glob("pip-*.whl")
    options = ["--no-index", f"--find-links={SERVER / 'wheels'}", "--no-deps", "--require-hashes", "--no-compile"]
    command = [
        str(python),
        str(pip / "pip"),
        "--isolated",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        *options,
    ]
    command += ["-r", str(SERVER / "requirements.txt")]
    subprocess.run(command, check=True)  # noqa: S603 (our own arguments)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for pattern in UNUSED:
        for path in packages.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(SERVER / "source", packages, dirs_exist_ok=True)
    # Proves that it starts, and leaves the bytecode of what is used, which a read-only server could not write. Sets are
    # written as they lie in memory: with one seed, always alike.
    subprocess.run([python, "-s", "-P", "-c", ENTRY], check=True, env={"PYTHONHASHSEED": "0"})  # noqa: S603 (the same)
    for path in packages.rglob("*.pyc"):
        _without_date(path)


def _without_date(path: Path) -> None:
    """Name bytecode by its source's hash (PEP 552): an image's layers do not keep the date of the source."""
    content, source = path.read_bytes(), Path(source_from_cache(str(path)))
    path.write_bytes(content[:4] + (1).to_bytes(4, "little") + source_hash(source.read_bytes()) + content[16:])


if __name__ == "__main__":
    main()
