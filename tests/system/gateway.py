"""A real S3 service for tests: Ceph's object gateway, a monitor, and a storage daemon that keeps objects in memory.

apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import secrets
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")
DEADLINE = 60.0  # seconds; a start takes two

# Ceph's own keys stay on although only loopback reaches it: without them a client may send its first command before it
# knows the cluster's identity, and almost every second start failed with "wrong fsid".
# Every change of the cluster map waits for the proposal interval, by default a second, and a start makes a dozen.
# A request that comes before the storage daemon is ready is repeated at the next objecter tick, by default 5 s later.
# Without tcp_nodelay a small PUT waits 45 ms for a delayed acknowledgement.
# With a key of its own it encrypts what it stores, as the large services do, and takes requests that ask for it.
# Empty names keep sockets and logs out of /run and /var.
SETTINGS = """\
[global]
fsid = {cluster}
keyring = {folder}/keyring
mon host = [v1:127.0.0.1:{monitor_port}]
ms bind msgr2 = false
admin socket =
crash dir = {folder}
run dir = {folder}
log file =
log to stderr = true
debug rocksdb = 0

[mon]
public addrv = [v1:127.0.0.1:{monitor_port}]
mon data = {folder}/mon
mon cluster log to file = false
mon allow pool size one = true
paxos propose interval = 0.05
osd pool default size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0

[osd]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4G

[client]
rgw data = {folder}/rgw
objecter tick interval = 0.5
rgw crypt default encryption key = {master_key}
rgw crypt require ssl = false
rgw frontends = beast endpoint={address}:{http_port} tcp_nodelay=1
"""

KEYRING = """\
[mon.]
key = {key}
caps mon = "allow *"

[osd.0]
key = {key}
caps mon = "allow *"
caps osd = "allow *"

[client.admin]
key = {key}
caps mon = "allow *"
caps osd = "allow *"
"""


@dataclass(frozen=True)
class Gateway:
    endpoint: str
    access_key: str
    secret_key: str
    stop: Callable[[], None]
    """Kill what answers requests; clients then find nobody there."""
    restart: Callable[[], None]
    """Bring it back, with all that was stored."""
    limit: Callable[[int], None]
    """Give the user no more than so many bytes."""

    def client(self) -> S3Client:
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client("s3", endpoint_url=self.endpoint, **keys)

    def save(self, bucket: str, folder: Path) -> None:
        """Write all objects of a bucket as files, which `load` brings into another service."""
        client = self.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for key in [each["Key"] for each in page.get("Contents", [])]:
                (folder / key).parent.mkdir(parents=True, exist_ok=True)
                client.download_file(bucket, key, str(folder / key))

    def load(self, bucket: str, folder: Path) -> None:
        """Make a bucket of such files, unless it exists."""
        client = self.client()
        if bucket in {each["Name"] for each in client.list_buckets()["Buckets"]}:
            return
        client.create_bucket(Bucket=bucket)
        for file in filter(Path.is_file, folder.rglob("*")):
            client.upload_file(str(file), bucket, file.relative_to(folder).as_posix())

    def environment(self) -> dict[str, str]:
        """Variables with which boto3, DVC and the AWS command line reach this service."""
        # Neither path-style addresses nor checksums need a setting: boto3 does not put a bucket's name before a
        # numeric host, and without TLS it sends checksums as headers, which this service ignores.
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": self.endpoint.split("/")[2].split(":")[0],  # boto3 would ask the machine's proxy for it
        }


@contextlib.contextmanager
def gateway(folder: Path, address: str = "127.0.0.1") -> Iterator[Gateway]:
    """Run the service in an empty folder, on an address of this machine.

    Raises RuntimeError, with the ends of the logs, when it does not start.
    """
    with _reserved_port() as monitor_port, _reserved_port() as http_port:
        processes = _Processes(folder.resolve())
        try:
            try:
                running = _start(processes, monitor_port, address, http_port)
            except (OSError, RuntimeError) as error:
                raise RuntimeError(f"Ceph did not start: {error}\n{processes.log_ends()}") from error
            yield running
        finally:
            processes.kill()


def _start(processes: _Processes, monitor_port: int, address: str, http_port: int) -> Gateway:
    folder, cluster, disk = processes.folder, uuid.uuid4(), uuid.uuid4()
    settings = SETTINGS.format(
        folder=folder,
        cluster=cluster,
        monitor_port=monitor_port,
        address=address,
        http_port=http_port,
        master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
    )
    (folder / "ceph.conf").write_text(settings, encoding="utf-8")
    # A key in Ceph's notation: kind 1 (AES), time of creation, length.
    key = base64.b64encode(struct.pack("<HIIH", 1, 0, 0, 16) + secrets.token_bytes(16)).decode()
    (folder / "keyring").write_text(KEYRING.format(key=key), encoding="utf-8")
    (folder / "osd").mkdir()

    processes.run("ceph-mon --mkfs --id=a")
    processes.launch("ceph-mon -f --id=a")
    processes.run(f"ceph osd new {disk} 0")
    processes.run(f"ceph-osd --mkfs --id=0 --osd-uuid={disk}")
    processes.launch("ceph-osd -f --id=0")
    access_key, secret_key = secrets.token_hex(10), secrets.token_hex(20)
    keys = f"--access-key={access_key} --secret-key={secret_key}"
    processes.run(f"radosgw-admin user create --uid=tester --display-name=tester {keys}")

    def start() -> None:
        processes.launch("radosgw -f")
        processes.wait("radosgw", lambda: _answers(address, http_port))

    def limit(size: int) -> None:
        processes.run(f"radosgw-admin quota set --quota-scope=user --uid=tester --max-size={size}")
        processes.run("radosgw-admin quota enable --quota-scope=user --uid=tester")

    start()
    endpoint = f"http://{address}:{http_port}"
    return Gateway(endpoint, access_key, secret_key, lambda: processes.stop("radosgw -f"), start, limit)


@dataclass
class _Processes:
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def launch(self, command: str) -> None:
        self.daemons[command] = self._popen(command)

    def run(self, command: str) -> None:
        process = self._popen(command)
        self.wait(command, lambda: process.poll() is not None)
        if process.returncode:
            raise RuntimeError(f"{command}: exit code {process.returncode}")

    def wait(self, what: str, finished: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not finished():
            for name, daemon in self.daemons.items():
                if daemon.poll() is not None:
                    raise RuntimeError(f"{name}: exit code {daemon.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not ready within {DEADLINE:.0f} s")
            time.sleep(0.01)

    def stop(self, command: str) -> None:
        daemon = self.daemons.pop(command)
        daemon.kill()
        daemon.wait()

    def kill(self) -> None:
        for process in self.started:
            process.kill()
        for process in self.started:
            process.wait()

    def log_ends(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text('utf-8', 'replace')[-2000:]}" for log in logs)

    def _popen(self, command: str) -> subprocess.Popen[bytes]:
        arguments = command.split()
        # Nothing else is inherited: a caller's CEPH_ARGS or PYTHONPATH would change these programs.
        environment = {"PATH": os.environ["PATH"], "CEPH_CONF": str(self.folder / "ceph.conf")}
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started.append(process)
        return process


@contextlib.contextmanager
def _reserved_port() -> Iterator[int]:
    """A port that the system gives to nobody by chance, while a daemon that is told to can still listen on it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def _answers(address: str, port: int) -> bool:
    connection = http.client.HTTPConnection(address, port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
