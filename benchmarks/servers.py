"""How long a deploy and a rollback take as a fleet grows, and on what; the tables go into docs/servers.md.

python -m benchmarks.servers              fleets of 1, 2, 4 and 6 containers, 20 minutes; needs root, podman, Ceph
python -m benchmarks.servers 3 --dry      one of three; only prints
"""

from __future__ import annotations

import argparse
import re
import resource
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import page
from pipelines.command import run
from tests.conftest import Project, copy_project
from tests.system.fleet import fleet
from tests.system.gateway import gateway
from tests.system.site import Site, make

PAGE = Path("docs", "servers.md")
TASK = re.compile(r"^(?:\w+ : )?(.*?) -{2,} ([\d.]+)s$", re.MULTILINE)
SWITCHING = {"Take it out of rotation", "Switch, prove it, or go back", "Bring it back into rotation", "Be still there"}
BRINGING = {"Download it", "Check who signed it, and every byte", "Unpack its server", "Install its server"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[1, 2, 4, 6], help="hosts (default: 1 2 4 6)")
    parser.add_argument("--dry", action="store_true", help="only print")
    options = parser.parse_args()
    lines = [
        "| hosts | deploy | bringing it | switching | rollback | processor time of Ansible |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        project = copy_project(place / "project")
        project.run("make", "repro", timeout=1200)
        key = place / "signing.pem"
        subprocess.run(f"openssl ecparam -name prime256v1 -genkey -noout -out {key}", shell=True, check=True)  # noqa: S602
        subprocess.run(f"openssl ec -in {key} -pubout -out {place}/release.pem", shell=True, check=True)  # noqa: S602
        for size in options.sizes:
            lines.append(measure(project, key, place / str(size), size))
            print(lines[-1], flush=True)
    if not options.dry:
        page.write(PAGE, "times", lines)


def measure(project: Project, key: Path, folder: Path, size: int) -> str:
    """Return a row: one deploy, and the median of six rollbacks with their range, on an otherwise idle machine."""
    names = [f"s{number}" for number in range(1, size + 1)]
    for name in ("fleet", "store", "site"):
        (folder / name).mkdir(parents=True)
    with (
        fleet(folder / "fleet", *names, "lb") as machines,
        gateway(folder / "store", machines.gateway) as store,
    ):
        site = make(machines, store, project, key, folder / "site")
        site.play("site")
        site.variables["ANSIBLE_CALLBACKS_ENABLED"] = "ansible.posix.profile_tasks"
        site.variables["PROFILE_TASKS_TASK_OUTPUT_LIMIT"] = "all"
        site.want("v1.1.0")
        before = processor()
        deploy, tasks = timed(site, "deploy")
        used = processor() - before
        rollbacks = []
        for release in ("v1.0.0", "v1.1.0") * 3:
            site.want(release)
            rollbacks.append(timed(site, "rollback")[0])
            site.wait_for_rotation()
    bringing, switching = (sum(tasks[name] for name in names) for names in (BRINGING, SWITCHING))
    cells = [
        f"{deploy - tasks['Bake']:.0f} s",
        f"{bringing:.0f} s",
        f"{switching:.0f} s",
        f"{statistics.median(rollbacks):.1f} s ({min(rollbacks):.1f} to {max(rollbacks):.1f})",
        f"{used:.0f} s",
    ]
    return f"| {size} | {' | '.join(cells)} |"


def timed(site: Site, playbook: str) -> tuple[float, Counter[str]]:
    """Return how long a playbook took, and each of its tasks, in seconds."""
    started = time.perf_counter()
    output = site.play(playbook)
    seconds = time.perf_counter() - started
    tasks: Counter[str] = Counter()
    for name, spent in TASK.findall(output[output.index("TASKS RECAP") :]):
        tasks[name] += float(spent)  # type: ignore[assignment]
    return seconds, tasks


def processor() -> float:
    """Return the seconds that processes of this one have used, those of containers not among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    run(main)
