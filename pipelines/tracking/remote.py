"""The DVC remote, where results are shared: whether there is one, whether it answers, and what it lacks."""

from __future__ import annotations

import json

from pipelines.command import PipelineError
from pipelines.dvc import dvc

PATIENCE = 60.0  # seconds until a remote that says nothing counts as unreachable


class RemoteError(PipelineError):
    """The remote cannot be read; the message holds DVC's words."""


class NoCredentialsError(RemoteError):
    """There are no credentials for it, as in the jobs of a fork."""


def is_configured() -> bool:
    # DVC ends with 0 whether or not it is set.
    return bool(dvc("config", "core.remote").strip())


def missing() -> list[str]:
    """Return what dvc.lock and data.dvc name and the remote lacks. Raises RemoteError."""
    try:
        found = json.loads(dvc("data", "status", "--not-in-remote", "--json", timeout=PATIENCE))
    except PipelineError as error:
        # botocore, google-auth and adlfs all name what is missing.
        kind = NoCredentialsError if "credentials" in str(error).lower() else RemoteError
        raise kind(f"the DVC remote cannot be read: {error}") from error
    return list(found.get("not_in_remote", []))
