"""What every command shares: errors that end it with one clear line, and files that are whole or absent."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model import ModelError
from pipelines import logs

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class PipelineError(Exception):
    """The work cannot go on; the message says what was wrong, where, and what would be right."""


def run(body: Callable[[], None]) -> None:
    """Run a command: an expected failure becomes one `error:` line and exit code 1, Ctrl-C exit code 130."""
    began, code, said = time.time(), 1, ""
    try:
        body()
        code = 0
    except (PipelineError, ModelError) as error:
        said = str(error)
        sys.exit(f"error: {error}")
    except OSError as error:
        said = str(error)
        if error.errno == errno.ENOSPC:
            sys.exit(f"error: no space left on the disk ({error}): free some and run the same command again")
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        code, said = INTERRUPTED, "interrupted"
        print("interrupted: run the same command again to go on", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        _log(began, code, said)


def named(text: str) -> Path:
    """Return an argument as a path. Raises ArgumentTypeError for an empty one: so comes what make was not told."""
    if not text:
        raise argparse.ArgumentTypeError("nothing is named")
    return Path(text)


def _log(began: float, code: int, said: str) -> None:
    try:
        logs.write(began, code, said)
    except OSError as error:  # the work itself is done, or has failed for another reason
        warn(f"{logs.VARIABLE} is not written: {error}")


def warn(message: str) -> None:
    """Tell what went wrong without ending the work; GitHub shows it on the run's page."""
    print(f"{'::warning::' if os.environ.get('GITHUB_ACTIONS') == 'true' else 'warning: '}{message}", flush=True)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends well, and disappears when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial.{path.name}")  # with the same ending, which Keras goes by
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
