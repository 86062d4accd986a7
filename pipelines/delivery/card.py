"""MODEL_CARD.md: what the model is for, how good it is on whom, and where it ends (Mitchell et al. 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.stats import binomtest

from model.manifest import Manifest
from pipelines.delivery.settings import Card
from pipelines.review.markdown import code

TEMPLATE = "card.md.j2"


def render(card: Card, manifest: Manifest, metrics: dict[str, Any], amounts: dict[str, float]) -> str:
    """Return the card; `amounts` says how much of each corruption the robustness was measured under."""
    environment = Environment(  # noqa: S701 (Markdown; what strangers wrote goes through `code`)
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {"code": code, "interval": _interval, "recall": _recall, "share": _share}
    return environment.get_template(TEMPLATE).render(card=card, manifest=manifest, metrics=metrics, amounts=amounts)


def _share(found: dict[str, float]) -> str:
    return f"{found['accuracy']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _interval(found: dict[str, float], name: str) -> str:
    return _share({"accuracy": found[name], "low": found[f"{name}_low"], "high": found[f"{name}_high"]})


def _recall(found: dict[str, float], confidence: float) -> str:
    examples = int(found["examples"])
    if not examples:
        return ""
    interval = binomtest(round(found["recall"] * examples), examples).proportion_ci(confidence, "wilson")
    return _share({"accuracy": found["recall"], "low": float(interval.low), "high": float(interval.high)})
