"""Ansible module: let a host serve another deployment, prove that it does, or go back by itself.

A deployment is a folder of <root>/deployments that never changes: the release, its settings, its key and its unit.
`present` writes it, `active` also lets the host serve it. The service reads <trial>, a symlink in /run. It points at
<root>/current, and only while a deployment is on trial at that itself. So a host boots into what was proven last;
a lost connection ends nothing, and a host whose new deployment does not prove itself goes back without being told.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import syslog
import time
import urllib.error
import urllib.request
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

UNITS = Path("/etc/systemd/system")
VARIABLE = b"DEPLOYMENT="
PAUSE = 0.1
PREVIOUS = "previous"


class RefusedError(Exception):
    """Why a deployment does not serve."""


class Host:
    def __init__(self, module: AnsibleModule) -> None:
        given = module.params
        self.module = module
        self.root, self.trial, self.unit = Path(given["root"]), Path(given["trial"]), given["unit"]
        self.ready, self.prove, self.patience = given["ready"], given["prove"], given["patience"]
        self.key = given["key"]

    @property
    def current(self) -> str:
        return self.linked("current")

    def linked(self, name: str) -> str:
        path = self.root / name
        return path.readlink().name if path.is_symlink() else ""

    def folder(self, name: str) -> Path:
        return self.root / "deployments" / name

    def serves(self, name: str) -> bool:
        """Whether the running process was started for this deployment, and is ready."""
        pid = self.show("MainPID")
        try:
            variables = Path("/proc", pid, "environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return VARIABLE + name.encode() in variables and self.is_ready()

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.ready, timeout=2) as answer:  # noqa: S310 (our own address)
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False

    def write(self, name: str) -> bool:
        """Make a deployment's folder, whole or not at all; False when there is one."""
        folder = self.folder(name)
        if folder.is_dir() or not self.module.params["files"]:
            return False
        if not self.module.check_mode:
            partial = folder.with_name(f".partial.{name}")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            (partial / "release").symlink_to(self.module.params["release"])
            for file, content in self.module.params["files"].items():
                (partial / file).write_text(content)
            partial.rename(folder)
        return True

    def start(self, name: str, patience: int) -> None:
        """Restart the service on a deployment and wait until it proves itself. Raises RefusedError."""
        folder = self.folder(name)
        if not (folder / "release" / "server").is_dir():
            raise RefusedError("its release is not here: `make deploy` brings it")
        link(self.trial, folder)
        unit = UNITS / f"{self.unit}.service"
        if not unit.exists() or unit.read_bytes() != (folder / unit.name).read_bytes():
            partial = unit.with_name(f".{unit.name}")
            shutil.copyfile(folder / unit.name, partial)
            partial.replace(unit)
            self.systemctl("daemon-reload")
        self.systemctl("reset-failed", self.unit)
        if self.show("UnitFileState") != "enabled":
            self.systemctl("enable", "--quiet", self.unit)
        self.systemctl("kill", "--kill-whom=main", "--signal=INT", self.unit)  # balancers look elsewhere already
        code, _, error = self.systemctl("restart", self.unit)
        if code:
            raise RefusedError(f"it does not start: {error.strip()}\n{self.log()}")
        deadline = time.monotonic() + patience
        while not self.serves(name):
            if int(self.show("NRestarts") or 0) > 1 or self.show("ActiveState") == "failed":
                raise RefusedError(f"it ends as soon as it starts\n{self.log()}")
            if time.monotonic() > deadline:
                raise RefusedError(f"it is not ready after {patience} s\n{self.log()}")
            time.sleep(PAUSE)
        code, output, error = self.module.run_command(
            [part.format(folder=folder) for part in self.prove], environ_update={"SERVING_KEY": self.key}, cwd="/"
        )
        if code:
            raise RefusedError(f"it answers wrongly: {(error or output).strip()}")

    def stop(self) -> None:
        self.systemctl("disable", "--now", "--quiet", self.unit)
        self.trial.unlink(missing_ok=True)

    def settle(self, name: str, before: str) -> None:
        """From now on this deployment is what the host starts."""
        if before and before != name:
            link(self.root / PREVIOUS, self.folder(before))
        (self.folder(name) / "proven").touch()
        os.sync()  # before anything points at it: power may go
        link(self.root / "current", self.folder(name))
        link(self.trial, self.root / "current")

    def log(self) -> str:
        """Return what the program itself said last."""
        matches = [f"_SYSTEMD_UNIT={self.unit}.service", "_TRANSPORT=stdout"]
        _, text, _ = self.module.run_command(["journalctl", "--output=cat", "--lines=100", *matches])
        lines = [line for line in text.splitlines() if "http.request.method" not in line]
        return "\n".join(lines[-3:])

    def show(self, name: str) -> str:
        return str(self.systemctl("show", "--value", f"--property={name}", self.unit)[1].strip())

    def systemctl(self, *arguments: str) -> tuple[int, str, str]:
        return self.module.run_command(["systemctl", *arguments])  # type: ignore[no-any-return]


def link(path: Path, target: Path) -> None:
    """Point a symlink elsewhere in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(path)


def note(module: AnsibleModule, outcome: str, before: str, now: str) -> None:
    """Leave who did what and when in the journal, and for Prometheus' node exporter."""
    by = module.params["by"]
    line = {"event.action": "deployment", "event.outcome": outcome, "user.name": by, "from": before, "to": now}
    syslog.openlog(module.params["unit"])
    syslog.syslog(json.dumps(line))
    folder = Path(module.params["metrics"])
    if not folder.is_dir():
        return
    labels = f'outcome="{outcome}",previous="{before}",deployment="{now}",by="{by}"'
    partial = folder / "slipway_deployment.prom.partial"
    partial.write_text(
        "# HELP slipway_deployment_timestamp_seconds When this host was last told to serve another deployment\n"
        "# TYPE slipway_deployment_timestamp_seconds gauge\n"
        f"slipway_deployment_timestamp_seconds{{{labels}}} {time.time():.0f}\n"
    )
    partial.replace(folder / "slipway_deployment.prom")


def main() -> None:
    arguments = {
        "state": {"choices": ["present", "active"], "default": "active"},
        "root": {"type": "path", "required": True},
        "release": {"type": "path", "required": True},
        "files": {"type": "dict", "required": True},
        "trial": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "unit": {"type": "str", "required": True},
        "ready": {"type": "str", "required": True},
        "prove": {"type": "list", "elements": "str", "required": True},
        "key": {"type": "str", "default": "", "no_log": True},
        "patience": {"type": "int", "default": 60},
        "again": {"type": "bool", "default": True},
        "by": {"type": "str", "default": ""},
        "metrics": {"type": "path", "required": True},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)
    host, name = Host(module), module.params["name"]
    if not module.check_mode:
        host.root.mkdir(parents=True, exist_ok=True)
        lock = (host.root / ".lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)  # of a run that died the module may still be at work
    before = host.current
    if name == PREVIOUS:
        name = host.linked(PREVIOUS)
        if not name:
            module.exit_json(changed=False, before=before, msg="nothing has served here before")
    written = host.write(name)
    if module.params["state"] == "present":
        module.exit_json(changed=written)
    result = {"before": before, "diff": {"before": f"{before}\n", "after": f"{name}\n"}}
    if before == name and host.serves(name):
        module.exit_json(changed=False, **result)
    if module.check_mode:
        module.exit_json(changed=True, **result)
    refused = host.folder(name) / "refused"
    if refused.exists() and not module.params["again"]:
        module.fail_json(msg=f"{name} was refused here before, and is not tried again: {refused.read_text()}", **result)
    started = time.monotonic()
    try:
        host.start(name, host.patience)
    except RefusedError as refusal:
        if host.folder(name).is_dir():
            refused.write_text(str(refusal))
        note(module, "refused", before, name)
        module.fail_json(msg=f"{name} was refused: {refusal}\n{go_back(host, before)}", **result)
    host.settle(name, before)
    note(module, "done", before, name)
    module.exit_json(changed=True, seconds=round(time.monotonic() - started, 2), **result)


def go_back(host: Host, before: str) -> str:
    """Serve again what was proven last; return what became of it."""
    if not before:
        host.stop()
        return "nothing has served here before, so nothing does now"
    try:
        host.start(before, 4 * host.patience)  # it has served, so nothing is better than to wait for it
    except RefusedError as refusal:
        return f"and the way back to {before} failed as well: {refusal}"
    link(host.trial, host.root / "current")
    return f"it is back on {before}"


if __name__ == "__main__":
    main()
