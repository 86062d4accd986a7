"""Text that is data becomes text that Markdown leaves alone: labels and ids are written by strangers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

SPECIAL = re.compile(r"([\\`*_{}\[\]#|~<>&$]|:(?=\S))")
JOINER = "\N{WORD JOINER}"
"""Invisible; keeps @name, #1 and www. from becoming mentions, references and links."""


def line(text: str) -> str:
    """Return text on one line, without characters that turn the direction of what follows or cannot be seen."""
    return " ".join(
        "".join(" " if unicodedata.category(c) == "Cc" else c for c in text if unicodedata.category(c) != "Cf").split()
    )


def plain(text: str) -> str:
    """Return text that shows as it is, in a paragraph or in a table."""
    flat = line(text)
    return re.sub(r"([@#]|www)(?=[\w.])", rf"\1{JOINER}", SPECIAL.sub(r"\\\1", flat))


def code(text: str) -> str:
    """Return a code span for a table: backticks within, pipes and line ends are kept from ending it."""
    flat = line(text) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", flat)), default=0) + 1)
    pad = " " if "`" in flat else ""
    return f"{fence}{pad}{flat}{pad}{fence}".replace("|", r"\|")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a table of cells that are Markdown already; columns named in `right` are aligned to the right."""
    rule = ["---:" if column in right else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def fold(summary: str, body: str) -> str:
    """Return a section that opens on a click; the empty lines make forges read Markdown within."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"
