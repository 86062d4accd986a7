"""The list of all parts of a release, CycloneDX 1.5: what uv.lock pins for a host, and the model itself."""

from __future__ import annotations

import json
import subprocess
import uuid
from datetime import UTC, datetime
from typing import Any

from model.manifest import MODEL, Manifest
from pipelines.command import PipelineError

NAME = "sbom.cdx.json"
EXPORT = ("uv", "export", "--locked", "--quiet", "--only-group", "host", "--format", "cyclonedx1.5")


def make(manifest: Manifest, name: str, committed: datetime) -> bytes:
    """Return the list as JSON; equal for equal parts, so its number and time come from the commit."""
    result = subprocess.run([*EXPORT, "--preview-features", "sbom-export"], capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        raise PipelineError(f"uv cannot list the packages: {result.stderr.strip()}")
    listed: dict[str, Any] = json.loads(result.stdout)
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"{manifest.commit}/{manifest.version}")
    listed["serialNumber"] = number.urn
    listed["metadata"]["timestamp"] = committed.astimezone(UTC).isoformat(timespec="seconds")
    listed["metadata"]["component"] |= {"type": "application", "version": manifest.version}
    listed["components"].append(
        {
            "type": "machine-learning-model",
            "bom-ref": f"model@{manifest.version}",
            "name": name,
            "version": manifest.version,
            "hashes": [{"alg": "SHA-256", "content": manifest.files[MODEL]}],
        }
    )
    return json.dumps(listed, indent=2).encode() + b"\n"
