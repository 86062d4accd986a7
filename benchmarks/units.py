"""Numbers as Grafana shows them."""

from __future__ import annotations

from datetime import UTC, datetime

STEPS: dict[str, dict[float, str]] = {
    "s": {1e-6: "µs", 1e-3: "ms", 1: "s", 60: "min", 3600: "h", 86400: "d"},
    "bytes": {1: "B", 2**10: "KiB", 2**20: "MiB", 2**30: "GiB"},
}


def show(value: float, unit: str) -> str:
    """Return the text of a value, of one of Grafana's units."""
    if unit == "dateTimeAsIso":
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M}"
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit in STEPS:
        fitting = [(size, name) for size, name in STEPS[unit].items() if abs(value) >= size]
        size, name = fitting[-1] if fitting else (1, unit[0].replace("b", "B"))
        return f"{value / size:.3g} {name}"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return number + {"reqps": " req/s", "cps": " c/s"}.get(unit, "")
