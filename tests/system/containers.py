"""Real containers by podman, of images that are made here from Debian's packages: no registry is asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

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
HARDENED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=128m",
    "--pids-limit=64",
)
"""Options of a container that may do nothing but compute and answer."""
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
        """Return the name of an image of Debian 12 with some packages and nothing else, made when it is not there."""
        image = f"localhost/slipway-tests/{name}:12"
        if image not in self.run("images", "--format", "{{.Repository}}:{{.Tag}}"):
            archive = Path(self.environment["CONTAINERS_CONF"]).with_name(f"{name}.tar")
            place = "/dev/shm" if Path("/dev/shm").is_dir() else None
            command = [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={','.join(packages)}",
                "bookworm",
                archive,
            ]
            mirror = "http://deb.debian.org/debian"
            environment = os.environ | ({"TMPDIR": place} if place else {})
            subprocess.run([*command, mirror] if not _is_debian() else command, env=environment, check=True)
            self.run("import", "--quiet", archive, image)
            archive.unlink()
        return image


def _is_debian() -> bool:
    """Whether the system's own sources are Debian's, so that its mirror serves."""
    return "ID=debian" in Path("/etc/os-release").read_text().splitlines()
