"""Real containers by podman, of images that are made here from Debian's packages: no registry is asked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from filelock import FileLock

from tests import conftest

IMAGES = "localhost/slipway-tests"
PROGRAMS = ("podman", "mmdebstrap")
SETTINGS = """\
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
INSTALL = """\
FROM {base}
RUN apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends \
  {packages} && apt-get clean && rm -r /var/lib/apt/lists/*
"""
HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=128m",
    "--pids-limit=64",
)
"""Options of a container that may do nothing but compute and answer."""
wait_for = partial(conftest.wait_for, every=0.5)
"""For what `podman exec` answers, which costs a tenth of a second of a core."""
HUGETLB = Path("/sys/fs/cgroup/hugetlb")


class Podman:
    def __init__(self, folder: Path) -> None:
        (folder / "containers.conf").write_text(SETTINGS)
        self._folder = folder
        self.environment = {"CONTAINERS_CONF": str(folder / "containers.conf")}
        # crun takes a machine for one of the old kind, whose every controller must be mounted.
        if Path("/sys/fs/cgroup/memory").exists() and not HUGETLB.exists():
            HUGETLB.mkdir()
            subprocess.run(["mount", "-t", "cgroup", "-o", "hugetlb", "cgroup", HUGETLB], check=True)

    def run(self, *arguments: str | Path, check: bool = True) -> str:
        result = subprocess.run(
            ["podman", *arguments],
            env=os.environ | self.environment,
            cwd=self._folder,  # where a file `oom` appears when the kernel ends a container
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or result.returncode == 0, (
            f"podman {arguments} ended with {result.returncode}:\n{result.stdout}"
        )
        return result.stdout

    def debian(self, name: str, *packages: str) -> str:
        """Return the name of an image of Debian 12 with Python, some packages and nothing else."""
        return self.build(name, INSTALL.format(base=self.base(), packages=" ".join(packages)))

    def build(self, name: str, containerfile: str, folder: Path | None = None) -> str:
        """Build an image of the files of a folder, and return its name, which tells other recipes apart."""
        image = f"{IMAGES}/{name}:{_number(containerfile)}"
        with tempfile.TemporaryDirectory() as empty:
            file = Path(empty, "Containerfile")
            file.write_text(containerfile)
            self.run("build", "--quiet", "--format=docker", "--file", file, "--tag", image, str(folder or empty))
        return image

    def base(self) -> str:
        """Return the name of an image of Debian 12 with Python and nothing else, made when it is missing."""
        with FileLock(Path(tempfile.gettempdir(), "slipway-tests-images.lock")):
            return self._base()

    def _base(self) -> str:
        mirror = () if _is_debian() else ("http://deb.debian.org/debian",)
        command = ("mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", "bookworm")
        image = f"{IMAGES}/debian:{_number(' '.join(command))}"
        if image not in self.run("images", "--format", "{{.Repository}}:{{.Tag}}"):
            archive = self._folder / "debian.tar"
            place = "/dev/shm" if Path("/dev/shm").is_dir() else None
            environment = os.environ | ({"TMPDIR": place} if place else {})
            subprocess.run([*command, archive, *mirror], env=environment, check=True)
            self.run("import", "--quiet", archive, image)
            archive.unlink()
        return image


def _number(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_debian() -> bool:
    """Whether the system's own sources are Debian's, so that its mirror serves."""
    return "ID=debian" in Path("/etc/os-release").read_text().splitlines()
