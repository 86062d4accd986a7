"""Check a release: who signed it, every byte of it, and that what it says of its origin is true.

make verify-release TAG=v1.2.3                                        as it is published
python -m pipelines.delivery.verify v1.2.3 --folder dist/v1.2.3       as it was built or downloaded
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from model.manifest import MODEL, Manifest
from pipelines.command import PipelineError, run
from pipelines.delivery import settings, store, tags
from pipelines.delivery.settings import Settings
from pipelines.review import repository


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="like v1.2.3")
    parser.add_argument("--folder", type=Path, help="check a folder instead of what is published")
    options = parser.parse_args()
    verify(options.tag, settings.load(), options.folder)


def verify(tag: str, chosen: Settings, folder: Path | None = None) -> Manifest:
    """Check a release and tell about it. Raises PipelineError saying what does not hold."""
    tags.parse(tag)
    if folder is None:
        with tempfile.TemporaryDirectory() as fetched:
            store.fetch(store.releases(chosen), tag, Path(fetched))
            who, manifest = store.verify(Path(fetched), tag, chosen)
    else:
        who, manifest = store.verify(folder, tag, chosen)
    commit = repository.commit(f"refs/tags/{tag}")
    if commit and commit != manifest.commit:
        raise PipelineError(f"{tag} was made of {manifest.commit}, but the tag is at {commit} here")
    print(f"{tag} holds: signed by {who}, of commit {manifest.commit}, model sha256 {manifest.files[MODEL]}")
    return manifest


if __name__ == "__main__":
    run(main)
