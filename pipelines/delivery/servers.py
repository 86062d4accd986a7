"""Let servers follow Git: environments/<name>/serving.env says which release they are to serve.

make deploy ENV=staging     one host first, then the others; whatever fails, all are back on what they had
make deploy                 the same for each environment that delivery.yaml lists under `servers`
make status ENV=staging     which host serves what, and whether that is what Git says

Ansible does the work, and takes options of its own after `--`:

python -m pipelines.delivery.servers deploy staging -- --check --diff

DEPLOY_KEY may hold the SSH key and DEPLOY_KNOWN_HOSTS the lines of known_hosts, where there is no agent and no home.
"""

from __future__ import annotations

import argparse
import fcntl
import getpass
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines import logs
from pipelines.command import PipelineError, run
from pipelines.delivery import environments, settings

FOLDER = Path("ansible")
PLAYBOOKS = ("deploy", "rollback", "scale", "site", "status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("playbook", choices=PLAYBOOKS, help="a file of ansible/")
    parser.add_argument("environment", nargs="?", help="a folder of environments/ and ansible/inventories/ [all]")
    parser.add_argument("options", nargs="*", help="for ansible-playbook, after --")
    given = parser.parse_args()
    chosen = [given.environment] if given.environment else settings.load().servers
    if not chosen:
        print("no environment has servers: docs/servers.md says how they come")
    for environment in chosen:
        if code := play(given.playbook, environment, given.options):
            sys.exit(code)


def play(playbook: str, environment: str, options: Sequence[str] = ()) -> int:
    """Run a playbook and return its exit code. Raises PipelineError when there is nothing that it could do."""
    release = environments.current(environment)
    logs.note(environment=environment, release=release)
    inventory = FOLDER / "inventories" / environment
    if not serves(environment):
        raise PipelineError(
            f"{environment} has no servers: put them into {inventory}, and its name under `servers` in delivery.yaml"
        )
    if not inventory.is_dir():
        raise PipelineError(f"{inventory} is missing, but delivery.yaml lists {environment} under `servers`")
    if not release and playbook != "status":
        raise PipelineError(f"{environment} has no release yet: `make promote ENV={environment} TAG=v1.2.3`")
    command = ["ansible-playbook", "--inventory", str(inventory), str(FOLDER / f"{playbook}.yml")]
    with _access() as access:
        variables = os.environ | access | {"ANSIBLE_CONFIG": str(FOLDER / "ansible.cfg"), "PYTHONPATH": str(Path.cwd())}
        if playbook == "status":
            return subprocess.run([*command, *options], env=variables, check=False).returncode  # noqa: S603 (our own)
        with _alone(environment) as (owner, lock):
            command += ["--extra-vars", f"slipway_owner='{owner}'", *options]
            # With the lock's file, so that it is held as long as Ansible runs, even when this is killed.
            return subprocess.run(command, env=variables, pass_fds=(lock,), check=False).returncode  # noqa: S603


def serves(environment: str) -> bool:
    """Whether an environment has servers that Ansible keeps."""
    return environment in settings.load().servers


@contextmanager
def _access() -> Iterator[dict[str, str]]:
    """Give the variables by which Ansible finds the key and the hosts' own keys that a forge hands down as text."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name in ("DEPLOY_KEY", "DEPLOY_KNOWN_HOSTS"):
            if text := os.environ.get(name):
                file = Path(folder, name)
                file.touch(mode=0o600)
                file.write_text(text.rstrip() + "\n")
                found[name] = str(file)
        variables = {}
        if "DEPLOY_KEY" in found:
            variables["ANSIBLE_PRIVATE_KEY_FILE"] = found["DEPLOY_KEY"]
        if "DEPLOY_KNOWN_HOSTS" in found:
            variables["ANSIBLE_SSH_COMMON_ARGS"] = f"-o UserKnownHostsFile={found['DEPLOY_KNOWN_HOSTS']}"
        yield variables


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
