"""Where images come from: a name that opens as a stream of paths and a stream of files, both in a fixed order.

Paths are relative and end in `/` for a folder, so that an empty class is seen. Nothing is extracted to disk.
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from pipelines.command import PipelineError
from pipelines.training.sources.archives import Tar, Zip
from pipelines.training.sources.base import Source
from pipelines.training.sources.folder import Folder

KINDS = "`digits`, a folder, a .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz file, or s3://bucket/prefix"


def open_source(location: str) -> Source:
    """Return the source at a location. Raises PipelineError when it is none of KINDS, or not there."""
    path = Path(location).expanduser()
    if location == "digits":
        from pipelines.training.sources.digits import Digits  # noqa: PLC0415 (scikit-learn takes a second to import)

        return Digits()
    if location.startswith("s3://"):
        from pipelines.training.sources.bucket import Bucket  # noqa: PLC0415 (so does boto3)

        return Bucket(location)
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise PipelineError(f"no source {location!r}: it is neither there nor one of {KINDS}")
    if zipfile.is_zipfile(path):
        return Zip(path)
    if tarfile.is_tarfile(path):
        return Tar(path)
    raise PipelineError(f"cannot read {location!r}: expected {KINDS}")
