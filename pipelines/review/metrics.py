"""The metrics that `evaluate` wrote, as a review reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.command import PipelineError


def load(folder: Path) -> dict[str, Any]:
    """Return the metrics in a folder. Raises PipelineError when there are none."""
    path = folder / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing: run `make repro`") from None
    except json.JSONDecodeError as error:
        raise PipelineError(f"{path} is damaged, run `make repro`: {error}") from error
    return metrics
