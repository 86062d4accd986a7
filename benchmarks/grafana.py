"""A dashboard of Grafana as a picture: each query is asked of Prometheus, and its answer drawn where Grafana would."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks import units
from pipelines.operations.panels import WIDTH
from tests.contracts.dashboards import substitute
from tests.system.prometheus import Prometheus, Series
from tests.system.watched import CANARY, STABLE

VALUES = {
    "__rate_interval": "15s",
    "release": ".*",
    "instance": "127.0.0.1[12]",
    "one": STABLE,
    "other": CANARY,
    "feature": "contrast",
    "window": "1h",
    "price": "0.05",
}
LEGENDS = 12
"""Lines of a panel that are named."""

Json = dict[str, Any]


def draw(dashboard: Json, prometheus: Prometheus, seconds: float, path: Path) -> None:
    """Write a PNG of the last seconds."""
    mpl.rcParams.update({"font.size": 7, "axes.titlesize": 8, "axes.titlelocation": "left", "axes.axisbelow": True})
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) + 1.5
    figure = Figure(figsize=(13, rows * 0.25), facecolor="white")
    figure.text(0.01, 1 - 0.9 / rows, dashboard["title"], fontsize=12, weight="bold")
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        top = 1 - (place["y"] + 1.5) / rows
        if panel["type"] == "row":
            figure.text(0.01, top - 0.7 / rows, panel["title"], fontsize=9, weight="bold", color="#555555")
            continue
        left, width = place["x"] / WIDTH + 0.045, place["w"] / WIDTH - 0.06
        axes = figure.add_axes((left, top - (place["h"] - 1.1) / rows, width, (place["h"] - 2.6) / rows))
        axes.set_title(substitute(panel["title"], VALUES))
        _DRAW[panel["type"]](axes, panel, prometheus, seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    print(f"picture: {path}")


def _timeseries(axes: Axes, panel: Json, prometheus: Prometheus, seconds: float) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    lines = [
        (_legend(target, series), np.array(series["values"], float).T)
        for target in panel["targets"]
        for series in prometheus.range(substitute(target["expr"], VALUES), seconds, 2)
    ]
    lines.sort(key=lambda line: line[0])
    lines = [(name, values) for name, values in lines if np.isfinite(values[1]).any()]
    if custom.get("stacking"):
        times = np.unique(np.concatenate([values[0] for _, values in lines]))
        heights = [np.interp(times, values[0], values[1], left=0, right=0) for _, values in lines]
        axes.stackplot((times - times[-1]) / 60, heights, labels=[name for name, _ in lines], alpha=0.8)
    else:
        for name, (times, values) in lines:
            axes.plot((times - time.time()) / 60, values, label=name, linewidth=1)
    limit = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
    if limit and "thresholdsStyle" in custom:
        axes.axhline(limit[0]["value"], color="#cc3333", linestyle="--", linewidth=0.8)
    _finish(axes, panel)
    axes.set_xlim(-seconds / 60, 0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} min"))


def _barchart(axes: Axes, panel: Json, prometheus: Prometheus, _: float) -> None:
    label = panel["options"]["xField"]
    shown = {
        _legend(target, {"metric": {}}): {
            series["metric"][label]: float(series["value"][1])
            for series in prometheus.query(substitute(target["expr"], VALUES))
        }
        for target in panel["targets"]
    }
    bins = sorted({name for values in shown.values() for name in values}, key=lambda name: (len(name), name))
    for number, (legend, values) in enumerate(shown.items()):
        places = np.arange(len(bins)) + (number - (len(shown) - 1) / 2) * 0.4
        axes.bar(places, [values.get(name, 0) for name in bins], 0.38, label=legend)
    axes.set_xticks(range(len(bins)), bins)
    _finish(axes, panel)


def _finish(axes: Axes, panel: Json) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: units.show(value, unit)))
    if axes.dataLim.y0 >= 0:
        axes.set_ylim(0, 1.05 * axes.dataLim.y1 or 1)
    names = axes.get_legend_handles_labels()[1]
    if 0 < len(names) <= LEGENDS:
        axes.legend(fontsize=5.5, loc="best", ncols=1 + len(names) // 5, framealpha=0.7, borderpad=0.2)


def _stat(axes: Axes, panel: Json, prometheus: Prometheus, _: float) -> None:
    axes.axis("off")
    defaults = panel["fieldConfig"]["defaults"]
    found = [
        (_legend(target, series), float(series["value"][1]))
        for target in panel["targets"]
        for series in prometheus.query(substitute(target["expr"], VALUES))
    ]
    steps = defaults["thresholds"]["steps"]
    for number, (name, value) in enumerate(found):
        place = (number + 0.5) / len(found)
        reached = [step["color"] for step in steps if step["value"] is None or step["value"] <= value]
        color = {"green": "#2a8a3e", "red": "#cc3333"}[reached[-1]]
        axes.text(place, 0.55, units.show(value, defaults["unit"]), ha="center", fontsize=16, color=color)
        axes.text(place, 0.15, name, ha="center")


def _table(axes: Axes, panel: Json, prometheus: Prometheus, _: float) -> None:
    axes.axis("off")
    (target,) = panel["targets"]
    found = prometheus.query(substitute(target["expr"], VALUES))
    columns = sorted(found[0]["metric"])
    unit = panel["fieldConfig"]["defaults"]["unit"]
    cells = [
        [*(series["metric"][name] for name in columns), units.show(float(series["value"][1]), unit)] for series in found
    ]
    names = [*columns, target["legendFormat"]]
    axes.table(cells, colLabels=names, loc="upper left", cellLoc="left", edges="horizontal")


_DRAW = {"timeseries": _timeseries, "barchart": _barchart, "stat": _stat, "table": _table}


def _legend(target: Json, series: Series) -> str:
    named = re.sub(r"{{(\w+)}}", lambda found: str(series["metric"].get(found[1], "")), target["legendFormat"])
    return str(substitute(named, VALUES))
