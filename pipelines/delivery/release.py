"""Make the release that a tag names: judged against the last final release, bundled, signed, published, announced.

git tag --annotate v1.2.3 --message "Better at sevens"
make release TAG=v1.2.3

dist/v1.2.3/ then holds all of it. Where delivery.yaml names no place for releases it stays there; where it names
nobody who signs, unsigned. Run again after whatever went wrong: what is done is not done twice.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from model.release import BUNDLE, PROVENANCE
from pipelines import logs
from pipelines.command import atomic, run
from pipelines.delivery import announce, assembly, provenance, settings, signing, store
from pipelines.delivery.preconditions import check
from pipelines.delivery.settings import Settings
from pipelines.delivery.verify import verify
from pipelines.review import repository
from pipelines.tracking import check_lock

DIST = Path("dist")
REVIEW = Path("reports", "review.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="like v1.2.3")
    release(parser.parse_args().tag)


def release(tag: str) -> None:
    """Raise PipelineError when the tag may not be released; exit with the review's code when its model may not."""
    logs.note(release=tag)
    chosen = settings.load()
    signed = chosen.releases or chosen.signing.public_key or chosen.signing.identity
    if signed:
        signing.check(chosen.signing, os.environ)
    previous = check(tag)
    check_lock.check()
    # The first release has nothing to be compared with but itself: floors and ceilings hold.
    command = [sys.executable, "-m", "pipelines.review", "--base", previous or tag]
    if code := subprocess.run(command, check=False).returncode:  # noqa: S603 (our own command)
        sys.exit(code)
    folder = DIST / tag
    build(tag, chosen, folder)
    print(f"{folder / BUNDLE}: {(folder / BUNDLE).stat().st_size:,} bytes, judged against {previous or 'floors alone'}")
    if chosen.releases is None:
        if signed:
            signing.sign(folder, chosen.signing, os.environ)
        print("not published: set `releases` in delivery.yaml to s3://bucket, docs/releases.md")
    else:
        new = store.publish(store.releases(chosen), tag, folder, chosen)
        verify(tag, chosen)
        print(f"{tag} is published" if new else f"{tag} was published already, with the same bytes")
    for said in announce.announce(tag, folder, notes(tag, previous), os.environ):
        print(said)


def build(tag: str, chosen: Settings, folder: Path) -> None:
    """Write the bundle and its provenance into a folder, instead of whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    commit = repository.commit("HEAD") or ""
    described = assembly.build(tag, commit, chosen, folder / BUNDLE)
    with atomic(folder / PROVENANCE) as partial:
        partial.write_bytes(provenance.encode(provenance.make(folder / BUNDLE, described, os.environ)))


def notes(tag: str, previous: str | None) -> str:
    """Return what to tell of a release: the changelog's words, and the review."""
    judged = f"Judged against {previous or 'floors and ceilings alone'}:"
    return "\n\n".join((announce.changes(tag), judged, REVIEW.read_text()))


if __name__ == "__main__":
    run(main)
