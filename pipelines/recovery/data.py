"""What DVC keeps for branches and tags, read from this machine's cache or else from the remote."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from dvc.exceptions import DvcException
from dvc.repo import Repo

from pipelines.command import PipelineError
from pipelines.recovery.snapshots import Entry
from pipelines.tracking import remote

CACHE = PurePosixPath(".dvc", "cache", "files", "md5")


def path(value: str) -> str:
    """Return where DVC's cache has the file of a hash."""
    return str(CACHE / value[:2] / value[2:])


class Source:
    """Raises PipelineError with DVC's own words when what it needs cannot be read."""

    def __init__(self) -> None:
        self._repo: Any = Repo()
        self._stores = [self._repo.cache.local]
        if remote.is_configured():
            self._stores.append(self._repo.cloud.get_remote_odb())

    def hashes(self, revisions: Iterable[str]) -> set[str]:
        """Return the hash of each file that DVC keeps for some commits, lists of folders among them."""
        try:
            used = self._repo.used_objs(revs=sorted(revisions))
        except DvcException as error:
            raise PipelineError(f"DVC cannot tell what is needed: {error}") from error
        return {str(found.value) for infos in used.values() for found in infos}

    def entry(self, value: str) -> Entry:
        store = self._find(value)
        size = store.fs.size(store.oid_to_path(value))
        return Entry(path(value), f"md5:{value.removesuffix('.dir')}", size)

    def open(self, entry: Entry) -> tuple[BinaryIO, str]:
        """Return a file's stream, and where it is from."""
        value = self._value(entry)
        store = self._find(value)
        place = store.oid_to_path(value)
        return cast("BinaryIO", store.fs.open(place, "rb")), f"{store.fs.protocol}:{place}"

    def _find(self, value: str) -> Any:  # noqa: ANN401 (DVC has no types)
        for store in self._stores:
            try:
                if store.fs.exists(store.oid_to_path(value)):
                    return store
            except Exception as error:  # of whichever library the remote needs
                raise PipelineError(f"the DVC remote cannot be read: {error}") from error
        raise PipelineError(
            f"{value} is neither in the cache nor in the DVC remote, but a branch or tag needs it: `dvc push` "
            "where it was made, or delete that branch or tag"
        )

    @staticmethod
    def _value(entry: Entry) -> str:
        file = PurePosixPath(entry.path)
        return file.parent.name + file.name
