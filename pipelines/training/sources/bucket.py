"""Images in S3, or in anything that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.command import PipelineError
from pipelines.training.sources.base import Read, check_size


class Bucket:
    def __init__(self, location: str) -> None:
        parts = urlsplit(location)
        self._location = location
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/") + "/" if parts.path.strip("/") else ""
        with self._errors():
            self._client = boto3.client("s3")
        self.name = PurePosixPath(self._prefix).name or self._bucket

    def paths(self) -> Iterator[str]:
        for path, _ in self._objects():
            yield path

    def files(self) -> Iterator[tuple[str, Read]]:
        for path, size in self._objects():
            if not path.endswith("/"):
                yield path, partial(self._read, path, size)

    def _objects(self) -> Iterator[tuple[str, int]]:
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                for item in page.get("Contents", ()):
                    if path := item["Key"].removeprefix(self._prefix):
                        yield path, item["Size"]

    def _read(self, path: str, size: int) -> bytes:
        check_size(size)
        with self._errors():
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)["Body"].read()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise PipelineError(f"{self._location}: {error}") from error
