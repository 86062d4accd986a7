"""Unseal the pictures that servers kept, for people to say what they show.

make samples SAMPLES=folder KEY=samples.pem INTO=labelled

Each picture comes to lie in a folder named as the model's answer, under the id of its request. Move those that are in
the wrong one: then the folder is LABELS for `make feedback` and SOURCE for `make data` and `make retrain`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from model import ModelError, sample
from model.sample import SUFFIX, Sample
from pipelines.command import PipelineError, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path, help="folder that SLIPWAY_SAMPLES named, or several of them in one")
    parser.add_argument("key", type=Path, help="PEM file of the private X25519 key")
    parser.add_argument("into", type=Path, help="folder to be made")
    options = parser.parse_args()
    if options.into.exists():
        raise PipelineError(f"{options.into} is there already, perhaps with labels: name another folder")
    try:
        key = sample.private_key(options.key.read_bytes())
    except ModelError as error:
        raise PipelineError(f"{options.key} is {error}") from error
    found = sorted(read(options.samples, key), key=lambda each: each.time)
    written, again = write(options.into, found)
    releases = ", ".join(sorted({each.release or "none" for each in found}))
    since, until = (each.time.date().isoformat() for each in (found[0], found[-1]))
    print(f"{options.into}: {written:,} pictures from {since} to {until}, of {releases}")
    if again:
        print(f"left out: {again:,} of request ids that were there before")


def read(folder: Path, key: X25519PrivateKey) -> Iterator[Sample]:
    """Yield what lies in a folder and those below. Raises PipelineError when nothing does, or not for this key."""
    files = [path for path in folder.rglob(f"*{SUFFIX}") if not path.name.startswith(".")]
    if not files:
        raise PipelineError(f"{folder} has no pictures: servers keep some where SLIPWAY_SAMPLES is set")
    for path in files:
        try:
            yield sample.unseal(path.read_bytes(), key)
        except ModelError as error:
            raise PipelineError(f"{path} is {error}") from error


def write(into: Path, found: list[Sample]) -> tuple[int, int]:
    """Make the folder, all of it or none. Returns the number of pictures in it, and of those with an id of another's.

    Raises PipelineError when a class has a name that no folder can have.
    """
    partial = into.with_name(f".partial.{into.name}")
    shutil.rmtree(partial, ignore_errors=True)
    ids = set()
    try:
        for each in found:
            if each.label != Path(each.label).name:
                raise PipelineError(f"{each.label!r} cannot be a folder: give the class another name")
            if each.request_id not in ids:
                ids.add(each.request_id)
                (partial / each.label).mkdir(parents=True, exist_ok=True)
                (partial / each.label / f"{each.request_id}.png").write_bytes(each.png)
        partial.rename(into)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(ids), len(found) - len(ids)


if __name__ == "__main__":
    run(main)
