"""Where releases are kept: a folder of S3 with a folder for each, which is a release once its signature is there.

The provenance is written first, the signature last, each only where there is none: of two who publish at once one
succeeds, and whatever ends early is no release. Nothing is ever overwritten.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from model.manifest import Manifest, sha256
from model.release import BUNDLE, PROVENANCE, SIGNATURE
from pipelines import s3
from pipelines.command import PipelineError, atomic
from pipelines.delivery import bundle, provenance, signing, tags, upload
from pipelines.delivery.settings import Settings
from pipelines.progress import bar
from pipelines.s3 import Folder, MissingError, TakenError

SMALL = (PROVENANCE, SIGNATURE)
REMOVE = "when no other run is at work, `aws s3 rm --recursive {}` and run this again"


def releases(settings: Settings) -> Folder:
    """Raise PipelineError when delivery.yaml names no place."""
    if settings.releases is None:
        raise PipelineError("there is no place for releases: set `releases` in delivery.yaml to s3://bucket")
    return s3.folder(settings.releases) / "releases"


def published(folder: Folder) -> list[str]:
    """Return the tags of all releases, the oldest version first."""
    found = {name.split("/")[0] for name in folder.objects() if name.endswith(f"/{SIGNATURE}")}
    return sorted(filter(tags.is_release, found), key=tags.parse)


def is_published(folder: Folder, tag: str) -> bool:
    return SIGNATURE in (folder / tag).objects()


def fetch(folder: Folder, tag: str, into: Path) -> None:
    """Download a release. Raises MissingError when it is not published."""
    place = folder / tag
    if not is_published(folder, tag):
        raise MissingError(f"{tag} is not published: {place} has no {SIGNATURE}")
    for name in SMALL:
        (into / name).write_bytes(place.read(name))
    with bar() as progress, s3.errors(place, BUNDLE):
        size = place.client.head_object(Bucket=place.bucket, Key=place.key(BUNDLE))["ContentLength"]
        task = progress.add_task(f"download {tag}", total=size)
        place.client.download_file(
            place.bucket, place.key(BUNDLE), str(into / BUNDLE), Callback=lambda done: progress.advance(task, done)
        )


def publish(folder: Folder, tag: str, release: Path, settings: Settings) -> bool:
    """Upload a release in a folder, signed here unless it is already; False when it is published already.

    Raises PipelineError when another release of this name is published or was begun.
    """
    place = folder / tag
    if is_published(folder, tag):
        _same(folder, tag, release, settings)
        return False
    # First what says which bytes it is about: who has others gives up before the bundle.
    _agree(place, release)
    if not _upload(place, release, f"upload {tag}"):
        _compare(place, release)
    if not (release / SIGNATURE).exists():
        signing.sign(release, settings.signing, os.environ)
    signing.verify(release, settings.signing, tag)
    try:
        place.create(SIGNATURE, (release / SIGNATURE).read_bytes())
    except TakenError:
        _same(folder, tag, release, settings)
        return False
    return True


def _upload(place: Folder, release: Path, title: str) -> bool:
    """Upload the bundle; False when there is one."""
    if BUNDLE in place.objects():
        return False
    with bar() as progress:
        task = progress.add_task(title, total=(release / BUNDLE).stat().st_size)
        try:
            upload.upload(release / BUNDLE, place, BUNDLE, lambda done: progress.advance(task, done))
        except TakenError:
            return False
    return True


def _compare(place: Folder, release: Path) -> None:
    """Raise PipelineError unless the bundle that an earlier run has left is the same."""
    with tempfile.TemporaryDirectory() as folder:
        with s3.errors(place, BUNDLE):
            place.client.download_file(place.bucket, place.key(BUNDLE), f"{folder}/{BUNDLE}")
        if sha256(Path(folder, BUNDLE)) != sha256(release / BUNDLE):
            raise PipelineError(f"{place}{BUNDLE} was left by another run, with other bytes: {REMOVE.format(place)}")


def _agree(place: Folder, release: Path) -> None:
    """Write the provenance, or take over that of an earlier run that did not end, when it tells the same."""
    ours = (release / PROVENANCE).read_bytes()
    try:
        place.create(PROVENANCE, ours)
    except TakenError:
        theirs = place.read(PROVENANCE)
        signed = (release / SIGNATURE).exists()
        if signed or not provenance.agree(provenance.decode(ours), provenance.decode(theirs)):
            raise PipelineError(f"{place} was begun with other bytes or elsewhere: {REMOVE.format(place)}") from None
        with atomic(release / PROVENANCE) as partial:
            partial.write_bytes(theirs)


def _same(folder: Folder, tag: str, release: Path, settings: Settings) -> None:
    """Take over who vouches for it. Raises PipelineError unless what is published is good, and its bundle this one."""
    with tempfile.TemporaryDirectory() as there:
        fetch(folder, tag, Path(there))
        verify(Path(there), tag, settings)
        if sha256(Path(there, BUNDLE)) != sha256(release / BUNDLE):
            raise PipelineError(f"{tag} is published with other bytes, and no release changes: tag the next version")
        for name in SMALL:
            shutil.copy(Path(there, name), release / name)


def verify(release: Path, tag: str, settings: Settings) -> tuple[str, Manifest]:
    """Return who signed the release in a folder, and its manifest. Raises PipelineError unless all of it holds."""
    who = signing.verify(release, settings.signing, tag)
    statement = provenance.decode((release / PROVENANCE).read_bytes())
    provenance.check(statement, release / BUNDLE)
    with tempfile.TemporaryDirectory() as unpacked:
        described = bundle.read(release / BUNDLE, tag, Path(unpacked))
    provenance.compare(statement, described)
    return who, described
