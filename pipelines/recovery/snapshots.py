"""What a backup is: a list of files by their hashes, written last; the files lie beside it, each once for all backups.

<bucket>/objects/<algorithm>/<two digits>/<hash>    a file of whatever backups name it
<bucket>/snapshots/20261123T041500Z.json            one backup
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from pipelines import s3
from pipelines.command import PipelineError
from pipelines.delivery.settings import Settings
from pipelines.s3 import Folder

FORM = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"\d{8}T\d{6}Z")
OBJECTS, SNAPSHOTS = "objects", "snapshots"


# What a list from a bucket may make a restore write, and nothing else.
PLACES = (
    r"^(repository\.bundle|\.dvc/cache/files/md5/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?"
    r"|dist/v[0-9][0-9a-z.-]*/(bundle\.tar|provenance\.json|model\.sig))$"
)


class Entry(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    path: Annotated[str, Meta(pattern=PLACES)]
    """Of the Git bundle, in DVC's cache, or of a release."""
    digest: Annotated[str, Meta(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]
    """`md5:...`, as DVC names its files, or `sha256:...`."""
    size: Annotated[int, Meta(ge=0)]
    tag: str = ""
    """Of the object that it was copied from, when that never changes: it need not be read again."""

    @property
    def key(self) -> str:
        algorithm, value = self.digest.split(":")
        return f"{algorithm}/{value[:2]}/{value}"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    time: datetime
    folder: Annotated[str, Meta(pattern=r"^(?!/)(?!.*\.\.).*$")]
    """Of the project in the repository, with a slash at its end; empty when it is the root."""
    references: dict[str, str]
    """Commits of branches and tags."""
    environments: dict[str, str]
    """Which release ran where."""
    git: Entry
    data: list[Entry]
    releases: dict[str, list[Entry]]

    @property
    def name(self) -> str:
        return self.time.astimezone(UTC).strftime(FORM)

    @property
    def entries(self) -> list[Entry]:
        return [self.git, *self.data, *(entry for release in self.releases.values() for entry in release)]

    @property
    def size(self) -> int:
        return sum({entry.key: entry.size for entry in self.entries}.values())


def place(settings: Settings) -> Folder:
    """Raise PipelineError when delivery.yaml names no place."""
    if settings.backup.bucket is None:
        raise PipelineError("there is no place for backups: set `backup.bucket` in delivery.yaml to s3://bucket")
    return s3.folder(settings.backup.bucket)


def names(place: Folder) -> list[str]:
    """Return the names of all snapshots, the oldest first."""
    found = (name.removesuffix(".json") for name in (place / SNAPSHOTS).objects())
    return sorted(name for name in found if NAME.fullmatch(name))


def time_of(name: str) -> datetime:
    try:
        return datetime.strptime(name, FORM).replace(tzinfo=UTC)
    except ValueError:
        raise PipelineError(f"{name!r} is no snapshot: they are named like 20261123T041500Z") from None


def read(place: Folder, name: str) -> Snapshot:
    """Raise PipelineError when there is no such snapshot, or it is damaged."""
    time_of(name)
    try:
        return msgspec.json.decode((place / SNAPSHOTS).read(f"{name}.json"), type=Snapshot)
    except s3.MissingError:
        raise PipelineError(f"there is no snapshot {name}; there are: {', '.join(names(place)) or 'none'}") from None
    except msgspec.DecodeError as error:
        raise PipelineError(f"snapshot {name} is damaged: {error}") from error


def newest(place: Folder) -> Snapshot | None:
    found = names(place)
    return read(place, found[-1]) if found else None


def write(place: Folder, snapshot: Snapshot) -> None:
    content = msgspec.json.format(msgspec.json.encode(snapshot))
    (place / SNAPSHOTS).create(f"{snapshot.name}.json", content)
