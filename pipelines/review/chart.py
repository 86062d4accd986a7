"""A chart that forges draw from text: no picture needs to be hosted anywhere."""

from __future__ import annotations

import re

from pipelines.review.verdict import Review

MOST_BARS = 30


def slices_chart(review: Review) -> str:
    """Return a Mermaid chart of each class's accuracy, or nothing when there are too many to read."""
    rows = [row for row in review.findings if row.rule == "slices" and row.subject.startswith("label ")]
    shown = [row for row in rows if row.value is not None and row.incumbent is not None]
    if not 2 <= len(shown) <= MOST_BARS:
        return ""
    names = ", ".join(f'"{_name(row.subject.removeprefix("label "), number)}"' for number, row in enumerate(shown))
    ours = ", ".join(f"{100 * (row.value or 0):.1f}" for row in shown)
    theirs = ", ".join(f"{100 * (row.incumbent or 0):.1f}" for row in shown)
    lowest = min(min(row.value or 0, row.incumbent or 0) for row in shown)
    floor = max(0, int(lowest * 10 - 1e-9) * 10)
    return f"""```mermaid
%%{{init: {{"themeVariables": {{"xyChart": {{"plotColorPalette": "#2563eb, #ea580c"}}}}}}}}%%
xychart-beta
  title "Accuracy by class: candidate (bars), incumbent (line)"
  x-axis [{names}]
  y-axis "percent" {floor} --> 100
  bar [{ours}]
  line [{theirs}]
```"""


def _name(label: str, number: int) -> str:
    """Return what Mermaid takes as a text of any label; one with nothing of that is numbered."""
    return re.sub(r"[^\w .-]+", " ", label).strip()[:12] or str(number + 1)
