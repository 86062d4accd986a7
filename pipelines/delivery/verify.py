"""Check a release: who signed it, every byte of it, and that what it says of its origin is true.

make verify-release TAG=v1.2.3                                        as it is published
python -m pipelines.delivery.verify v1.2.3 --folder dist/v1.2.3       as it was built or downloaded
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from model.manifest import MODEL, Manifest, sha256
from pipelines.command import PipelineError, run
from pipelines.delivery import settings, store, tags
from pipelines.delivery.settings import Settings
from pipelines.review import repository


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="like v1.2.3")
    parser.add_argument("--folder", type=Path, help="check a folder instead of what is published")
    parser.add_argument("--hashes", action="store_true", help="also print each file's sha256, as JSON in the last line")
    options = parser.parse_args()
    verify(options.tag, settings.load(), options.folder, hashes=options.hashes)


def verify(tag: str, chosen: Settings, folder: Path | None = None, *, hashes: bool = False) -> Manifest:
    """Check a release and tell about it. Raises PipelineError saying what does not hold."""
    tags.parse(tag)
    with tempfile.TemporaryDirectory() as fetched:
        if folder is None:
            store.fetch(store.releases(chosen), tag, folder := Path(fetched))
        who, manifest = store.verify(folder, tag, chosen)
        sums = {path.name: sha256(path) for path in folder.iterdir()}
    commit = repository.commit(f"refs/tags/{tag}")
    if commit and commit != manifest.commit:
        raise PipelineError(f"{tag} was made of {manifest.commit}, but the tag is at {commit} here")
    print(f"{tag} holds: signed by {who}, of commit {manifest.commit}, model sha256 {manifest.files[MODEL]}")
    if hashes:
        print(json.dumps(sums))
    return manifest


if __name__ == "__main__":
    run(main)
