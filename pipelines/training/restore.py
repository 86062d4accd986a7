"""Bring data/ to what data.dvc records: from DVC's cache, from the remote, or from the source in params.yaml.

python -m pipelines.training.restore
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pipelines import params
from pipelines.command import PipelineError, run
from pipelines.dvc import DATA, dvc, succeeds


def is_recorded(data: Path) -> bool:
    return _record(data).exists()


def restore(data: Path) -> None:
    """Do nothing when data/ is as recorded. Raises PipelineError when it differs, or can be had from nowhere."""
    source = params.load().ingest.source
    record = _record(data)
    if not record.exists():
        if data.exists():
            raise PipelineError(f"{data}/ exists and {record} does not: record it with `.venv/bin/dvc add {data}`")
        _rebuild(data, source)
        dvc("add", "--quiet", str(data))
    elif data.exists():
        if not _is_as_recorded(data):
            raise PipelineError(
                f"{data}/ is not what {record} records: go back with `rm -r {data}` and `make data`, "
                f"or accept the change with `.venv/bin/dvc add {data}`"
            )
    elif succeeds("checkout", "--quiet", str(record)) and data.exists():
        print(f"{data}/ restored from DVC's cache")
    elif dvc("remote", "list").strip() and _pull(record):
        print(f"{data}/ restored from the remote")
    else:
        _rebuild(data, source)
        if not _is_as_recorded(data):
            shutil.rmtree(data)
            raise PipelineError(
                f"{data}/ cannot be restored: no cache or remote has what {record} records, and ingest.source in "
                f"params.yaml, {source}, gives other data: `.venv/bin/dvc remote add` the remote that has it"
            )
        print(f"{data}/ rebuilt from {source}, with the recorded hash")


def _record(data: Path) -> Path:
    return data.with_name(f"{data.name}.dvc")


def _rebuild(data: Path, source: str) -> None:
    from pipelines.training.ingest import ingest  # noqa: PLC0415 (slow, seldom needed)
    from pipelines.training.sources import open_source  # noqa: PLC0415

    try:
        ingest(open_source(source), data)
    except PipelineError as error:
        raise PipelineError(f"{data}/ cannot be made from ingest.source in params.yaml: {error}") from error


def _pull(record: Path) -> bool:
    try:
        dvc("pull", "--quiet", str(record))
    except PipelineError as error:
        print(f"warning: {error}", file=sys.stderr)
        return False
    return True


def _is_as_recorded(data: Path) -> bool:
    record = _record(data)
    if succeeds("status", "--quiet", str(record)):
        return True
    # With an empty cache DVC calls equal and changed data alike "not in cache"; adding it tells, and fills the cache.
    recorded = record.read_text()
    try:
        dvc("add", "--quiet", str(data))
        return record.read_text() == recorded
    finally:
        record.write_text(recorded)


if __name__ == "__main__":
    run(lambda: restore(DATA))
