"""Serve a release. Every setting is an environment variable."""

from __future__ import annotations

import argparse
import os
import sys

from serving import config, supervisor
from serving.errors import ServingError


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description=__doc__,
        epilog=f"settings [default]:\n{config.describe()}\n\nSIGHUP loads the release again, SIGTERM drains and ends.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        supervisor.run(config.load(os.environ))
    except ServingError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
