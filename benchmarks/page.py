"""Tables in documents: what was measured last stands between two marks."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.command import atomic


def write(page: Path, mark: str, lines: list[str]) -> None:
    """Replace what stands between `<!-- mark -->` and `<!-- end -->`."""
    text = "\n".join(lines)
    marked = re.compile(rf"(<!-- {mark} -->\n).*(\n<!-- end -->)", re.DOTALL)
    with atomic(page) as partial:
        partial.write_text(marked.sub(lambda match: f"{match[1]}{text}{match[2]}", page.read_text()))
