"""List which release an environment ran when, the newest first, as Git has it.

make history ENV=production
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.command import run
from pipelines.delivery import environments
from pipelines.delivery.environments import NOTHING


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", help="a folder of environments/")
    show(parser.parse_args().environment)


def show(environment: str) -> None:
    changes = environments.history(environment)
    if not changes:
        print(f"{environment} has run nothing yet: `make promote ENV={environment} TAG=v1.2.3`")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("since", "release", "by", "commit", "why"):
        table.add_column(column, overflow="fold")
    for change in changes:
        since = f"{change.time:%Y-%m-%d %H:%M}"
        table.add_row(
            since, change.release or NOTHING, *map(escape, (change.author, change.commit[:10], change.subject))
        )
    Console().print(table, highlight=False)


if __name__ == "__main__":
    run(main)
