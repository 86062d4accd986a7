"""Serve a release. Every setting is an environment variable."""

from __future__ import annotations

import argparse
import os
import sys

import msgspec

from serving import config, supervisor
from serving.config import Settings
from serving.errors import ServingError
from serving.target import configured

SIGNALS = "SIGHUP loads the release again, SIGTERM drains and ends, SIGINT ends without draining."


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description=__doc__,
        epilog=f"settings [default]:\n{config.describe()}\n\n{SIGNALS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="load the release, say whether it can be served, and end")
    parser.add_argument(
        "serve", nargs="?", choices=["serve"], help="what SageMaker says to a container; changes nothing"
    )
    options = parser.parse_args()
    try:
        settings = config.load(os.environ)
        if options.check:
            check(settings)
        else:
            supervisor.run(settings)
    except ServingError as error:
        sys.exit(f"error: {error}")


def check(settings: Settings) -> None:
    """Load what the settings name as a worker would. Raises ServingError."""
    from serving import deployment  # noqa: PLC0415 (workers load it, their parent does not)

    target = msgspec.structs.replace(configured(settings), expected=settings.release)
    stable, _ = deployment.load(target, settings)
    print(f"{stable.name} can be served")


if __name__ == "__main__":
    main()
