"""What Prometheus is told of backups, as a text file for its node exporter: only a success writes it."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from pipelines.recovery.snapshots import Snapshot

LAST_SUCCESS = "slipway_backup_last_success_timestamp_seconds"
SIZE = "slipway_backup_size_bytes"
COPIED = "slipway_backup_copied_bytes"
DURATION = "slipway_backup_duration_seconds"
SNAPSHOTS = "slipway_backup_snapshots"
DRILL = "slipway_restore_drill_last_success_timestamp_seconds"
DRILL_DURATION = "slipway_restore_drill_duration_seconds"


def write(path: Path, snapshot: Snapshot, copied: int, duration: float, count: int) -> None:
    _write(
        path,
        {
            LAST_SUCCESS: ("When the newest backup was made.", snapshot.time.timestamp()),
            SIZE: ("Size of all that it holds.", snapshot.size),
            COPIED: ("What was new in it.", copied),
            DURATION: ("How long it took.", duration),
            SNAPSHOTS: ("How many backups there are.", count),
        },
    )


def write_drill(path: Path, time: float, duration: float) -> None:
    _write(
        path,
        {
            DRILL: ("When a backup was last restored and proved.", time),
            DRILL_DURATION: ("How long it took.", duration),
        },
    )


def _write(path: Path, values: dict[str, tuple[str, float]]) -> None:
    registry = CollectorRegistry()
    for name, (text, value) in values.items():
        Gauge(name, text, registry=registry).set(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)
