"""Lists of parts, CycloneDX 1.5: what uv.lock pins for a host, and the model itself; and what it pins for jobs."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.manifest import MODEL, Manifest
from pipelines.command import PipelineError

NAME = "sbom.cdx.json"
EXPORT = ("uv", "export", "--locked", "--quiet", "--format", "cyclonedx1.5", "--preview-features", "sbom-export")


def make(manifest: Manifest, name: str, committed: datetime) -> bytes:
    """Return the list of a release as JSON; equal for equal parts, so its number and time come from the commit."""
    listed = _packages("host", manifest, committed, Path())
    listed["components"].append(
        {
            "type": "machine-learning-model",
            "bom-ref": f"model@{manifest.version}",
            "name": name,
            "version": manifest.version,
            "hashes": [{"alg": "SHA-256", "content": manifest.files[MODEL]}],
        }
    )
    return _encode(listed)


def of_jobs(manifest: Manifest, committed: datetime, project: Path, without: Iterable[str]) -> bytes:
    """Return the list of the group `jobs` of a project, without some packages and what only they need."""
    return _encode(_packages("jobs", manifest, committed, project, without))


def _packages(
    group: str, manifest: Manifest, committed: datetime, project: Path, without: Iterable[str] = ()
) -> dict[str, Any]:
    command = [*EXPORT, "--project", str(project), "--only-group", group, *(f"--prune={name}" for name in without)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
    if result.returncode:
        raise PipelineError(f"uv cannot list the packages: {result.stderr.strip()}")
    listed: dict[str, Any] = json.loads(result.stdout)
    listed["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, f"{manifest.commit}/{manifest.version}/{group}").urn
    listed["metadata"]["timestamp"] = committed.astimezone(UTC).isoformat(timespec="seconds")
    listed["metadata"]["component"] |= {"type": "application", "version": manifest.version}
    return listed


def _encode(listed: dict[str, Any]) -> bytes:
    return json.dumps(listed, indent=2).encode() + b"\n"
