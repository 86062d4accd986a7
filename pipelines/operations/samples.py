"""Unseal the pictures that servers kept, for people to say what they show.

make samples SAMPLES=folder KEY=samples.pem INTO=labelled

Each picture comes to lie in a folder named as the model's answer, under the id of its request. Look at every one, and
move those that are in the wrong folder: then INTO is LABELS for `make feedback`, and SOURCE for `make retrain`.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from model import ModelError, sample
from model.sample import SUFFIX, Sample
from pipelines.command import PipelineError, named, run

NAME = re.compile(r"[^./\x00][^/\x00]*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=named, help="folder that SLIPWAY_SAMPLES named, or several of them in one")
    parser.add_argument("key", type=named, help="PEM file of the private X25519 key")
    parser.add_argument("into", type=named, help="folder to be made")
    options = parser.parse_args()
    if options.into.exists():
        raise PipelineError(f"{options.into} is there already, perhaps with labels: name another folder")
    try:
        key = sample.private_key(options.key.read_bytes())
    except ModelError as error:
        raise PipelineError(f"{options.key} is {error}") from error
    found, closed = read(options.samples, key)
    written = write(options.into, found)
    releases = ", ".join(sorted({each.release or "none" for each in found}))
    since, until = (each.time.date().isoformat() for each in (found[0], found[-1]))
    print(f"{options.into}: {written:,} pictures from {since} to {until}, of {releases}")
    if again := len(found) - written:
        print(f"left out: {again:,} of request ids that were there before")
    if closed:
        print(f"left out: {len(closed):,} sealed for another key, or damaged, such as {closed[0]}")


def read(folder: Path, key: X25519PrivateKey) -> tuple[list[Sample], list[Path]]:
    """Return what lies in a folder and those below, oldest first, and the files that the key does not open.

    Raises PipelineError when there is none that it opens.
    """
    files = [path for path in sorted(folder.rglob(f"*{SUFFIX}")) if not path.name.startswith(".")]
    if not files:
        raise PipelineError(f"{folder} has no pictures: servers keep some where SLIPWAY_SAMPLES is set")
    found, closed = [], []
    for path in files:
        try:
            found.append(sample.unseal(path.read_bytes(), key))
        except ModelError:
            closed.append(path)
    if not found:
        raise PipelineError(f"{folder} has {len(files):,} pictures, all of them sealed for another key, or damaged")
    return sorted(found, key=lambda each: each.time), closed


def write(into: Path, found: list[Sample]) -> int:
    """Make the folder, all of it or none, and return the number of pictures in it: one for each request id.

    Raises PipelineError for a class or an id that cannot be a name in there: whoever has the public key can seal any.
    """
    partial = into.with_name(f".partial.{into.name}")
    shutil.rmtree(partial, ignore_errors=True)
    ids = set()
    try:
        for each in found:
            for name in (each.label, each.request_id):
                if not NAME.fullmatch(name):
                    raise PipelineError(f"{name!r} cannot be the name of a file: give the class another one")
            if each.request_id not in ids:
                ids.add(each.request_id)
                (partial / each.label).mkdir(parents=True, exist_ok=True)
                (partial / each.label / f"{each.request_id}.png").write_bytes(each.png)
        partial.rename(into)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(ids)


if __name__ == "__main__":
    run(main)
