"""What production sees, held against what the release was evaluated on: which feature has moved, how far, how surely.

python -m pipelines.operations.drift --prometheus http://127.0.0.1:9090 [--window 6h] [--release v1.2.3]

Exit code 0: no drift; 1: drift; 2: nobody can tell.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import requests
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from scipy.stats import chi2, chi2_contingency

from model.statistics import ANSWER
from pipelines.command import PipelineError
from pipelines.operations import rules
from pipelines.operations.rules import Drift

TIMEOUT = 30
WIDTH = 120
"""Columns of a log, which has no width of its own."""
OBSERVED = (
    "sum by (release, feature, bin) (increase(slipway_observed_total{chosen}[{window}]))",
    "sum by (release, label) (increase(slipway_predictions_total{chosen}[{window}]))",
)
REFERENCE = "max by (release, feature, bin) (slipway_reference_examples{chosen})"

Counts = dict[tuple[str, str], dict[str, float]]
"""By release and feature, then by bin."""


class Finding(NamedTuple):
    release: str
    feature: str
    images: int
    psi: float
    chance: float
    """What the index may be without a change: its quantile of 1 minus the rate of false alarms."""
    p_value: float
    """Of the chi-square test that both counts are of one distribution."""
    moved: str
    """The bin with the largest change of its share."""
    drifted: bool


def judge(release: str, feature: str, seen: Mapping[str, float], held: Mapping[str, float], chosen: Drift) -> Finding:
    """Compare counts by bin, of all bins that `held` has.

    The index is Siddiqi's (Credit Risk Scorecards, 2006) with half an example added to each bin; without a change it is
    (1/n + 1/m) times chi-square with a degree of freedom less than bins (Yurdakul, 2018).
    """
    bins = list(held)
    both = np.array([[seen.get(name, 0) for name in bins], [held[name] for name in bins]], np.float64)
    images, examples = both.sum(axis=1)
    if images < chosen.least:
        return Finding(release, feature, round(images), np.nan, np.nan, np.nan, "", drifted=False)
    shares = (both + 0.5) / (both + 0.5).sum(axis=1, keepdims=True)
    change = shares[0] - shares[1]
    psi = float(np.sum(change * np.log(shares[0] / shares[1])))
    chance = float((1 / images + 1 / examples) * chi2.isf(chosen.false_alarms, len(bins) - 1))
    largest = int(np.abs(change).argmax())
    moved = f"{bins[largest]}: {shares[1, largest]:.0%} to {shares[0, largest]:.0%}"
    return Finding(release, feature, round(images), psi, chance, _p_value(both), moved, psi > chosen.psi + chance)


def _p_value(both: NDArray[np.float64]) -> float:
    filled = both[:, both.sum(axis=0) > 0]
    return float(chi2_contingency(filled).pvalue) if filled.shape[1] > 1 else 1.0


def look(prometheus: str, window: str, namespace: str, chosen: Drift) -> list[Finding]:
    """Ask a Prometheus for every release and feature, of one namespace or all. Raises PipelineError."""
    own = f"{{namespace={json.dumps(namespace)}}}" if namespace else ""
    held = _counts(prometheus, REFERENCE.format(chosen=own))
    seen: Counts = {}
    for query in OBSERVED:
        seen |= _counts(prometheus, query.format(chosen=own, window=window))
    return [judge(*key, seen.get(key, {}), bins, chosen) for key, bins in sorted(held.items())]


def _counts(prometheus: str, query: str) -> Counts:
    found: Counts = defaultdict(dict)
    for labels, value in ask(prometheus, query):
        if not labels.keys() >= {"release", "label"} and not labels.keys() >= {"release", "feature", "bin"}:
            raise PipelineError(f"{prometheus} has a series of another server for {query!r}: {labels}")
        feature, name = (ANSWER, labels["label"]) if "label" in labels else (labels["feature"], labels["bin"])
        found[labels["release"], feature][name] = value
    return found


def ask(prometheus: str, query: str) -> list[tuple[dict[str, str], float]]:
    """Return the labels and value of each series of an instant query. Raises PipelineError."""
    try:
        answer = requests.post(f"{prometheus}/api/v1/query", data={"query": query}, timeout=TIMEOUT)
        content = answer.json()
        if content["status"] != "success":
            raise PipelineError(f"{prometheus} refuses {query!r}: {content['error']}")
        return [(series["metric"], float(series["value"][1])) for series in content["data"]["result"]]
    except (requests.RequestException, LookupError, TypeError, ValueError) as error:
        raise PipelineError(f"{prometheus} does not answer as Prometheus does: {error}") from error


def table(findings: Sequence[Finding], chosen: Drift) -> Table:
    """Return what was found, a line a feature."""
    made = Table(title=f"PSI above {chosen.psi} and what chance makes of no change is drift", box=SIMPLE)
    for name in ("release", "feature"):
        made.add_column(name)
    for name in ("images", "PSI", "chance", "p"):
        made.add_column(name, justify="right")
    made.add_column("largest change", no_wrap=True)
    made.add_column("", no_wrap=True)
    for each in findings:
        numbers = (f"{each.psi:.3f}", f"{each.chance:.3f}", f"{each.p_value:.2g}") if each.moved else ("", "", "")
        verdict = "[red]drift[/]" if each.drifted else "" if each.moved else f"under {chosen.least} images"
        made.add_row(each.release, each.feature, f"{each.images:,}", *numbers, each.moved, verdict)
    return made


def main() -> int:
    chosen = rules.load().drift
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", required=True, help="its address")
    parser.add_argument("--window", default=chosen.windows[0], help="how far to look back [%(default)s]")
    parser.add_argument("--release", help="this one alone")
    parser.add_argument("--namespace", default="", help="of a cluster: this one alone")
    given = parser.parse_args()
    if not given.prometheus:
        parser.error("name a Prometheus: make drift PROMETHEUS=http://127.0.0.1:9090")
    findings = look(given.prometheus.rstrip("/"), given.window, given.namespace, chosen)
    findings = [each for each in findings if given.release in {None, each.release}]
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table(findings, chosen))
    if not any(each.moved for each in findings):
        print("no release has answered enough in that time, or none has a reference", file=sys.stderr)
        return 2
    return int(any(each.drifted for each in findings))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
