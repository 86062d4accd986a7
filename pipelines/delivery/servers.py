"""Let the servers of an environment follow Git: environments/<name>/serving.env says which release they are to serve.

make deploy ENV=staging        the canary first, then the others; whatever fails, all are back on what they had
make status ENV=staging        which host serves what, and whether that is what Git says

Ansible does the work, and takes options of its own after `--`:

python -m pipelines.delivery.servers deploy staging -- --check --diff
"""

from __future__ import annotations

import argparse
import fcntl
import getpass
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.command import PipelineError, run
from pipelines.delivery import environments, settings

FOLDER = Path("ansible")
PLAYBOOKS = ("deploy", "rollback", "scale", "site", "status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("playbook", choices=PLAYBOOKS, help="a file of ansible/")
    parser.add_argument("environment", help="a folder of environments/ and of ansible/inventories/")
    parser.add_argument("options", nargs="*", help="for ansible-playbook, after --")
    given = parser.parse_args()
    sys.exit(play(given.playbook, given.environment, given.options))


def play(playbook: str, environment: str, options: Sequence[str] = ()) -> int:
    """Run a playbook and return its exit code. Raises PipelineError when there is nothing that it could do."""
    release = environments.current(environment)
    inventory = FOLDER / "inventories" / environment
    if environment not in settings.load().servers:
        raise PipelineError(
            f"{environment} has no servers: put them into {inventory}, and its name under `servers` in delivery.yaml"
        )
    if not inventory.is_dir():
        raise PipelineError(f"{inventory} is missing, but delivery.yaml lists {environment} under `servers`")
    if not release and playbook != "status":
        raise PipelineError(f"{environment} has no release yet: `make promote ENV={environment} TAG=v1.2.3`")
    with _alone(environment) as (owner, lock):
        command = ["ansible-playbook", "--inventory", str(inventory), str(FOLDER / f"{playbook}.yml")]
        variables = os.environ | {"ANSIBLE_CONFIG": str(FOLDER / "ansible.cfg"), "PYTHONPATH": str(Path.cwd())}
        return subprocess.run(  # noqa: S603 (our own command)
            [*command, "--extra-vars", f"slipway_owner='{owner}'", *options],
            env=variables,
            pass_fds=(lock,),  # so that it is held as long as Ansible runs, even when this is killed
            check=False,
        ).returncode


def serves(environment: str) -> bool:
    """Whether an environment has servers that Ansible keeps."""
    return environment in settings.load().servers


@contextmanager
def _alone(environment: str) -> Iterator[tuple[str, int]]:
    """Give the name that the fleet's lock is taken under, and the file that only one run here can hold.

    So a lock of that name which the fleet has already is one that a killed run has left.
    """
    place = Path(f".deploying-{environment}")
    with place.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(f"{environment} is being deployed from here already ({place} is locked)") from None
        yield f"{getpass.getuser()}@{socket.gethostname()}:{Path.cwd()}", file.fileno()


if __name__ == "__main__":
    run(main)
