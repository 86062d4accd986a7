"""S3 as every command reaches it: credentials from the environment or the role, and errors that say what to do.

`AWS_ENDPOINT_URL_S3` leads to another service than Amazon's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore import exceptions
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipelines.command import PipelineError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4})
MISSING = {"404", "NoSuchKey"}
TAKEN = {"412", "PreconditionFailed"}
MOST_DELETED = 1000
"""In one request."""
REFUSED = "these credentials are refused: check them, and what they may do"
FULL = "the bucket is full: make room, then run the same command again"
ADVICE = {
    "ConditionalRequestConflict": "another run writes it right now: run the same command again",
    "NoSuchBucket": "there is no such bucket: create it, or mend its name",
    **dict.fromkeys(("QuotaExceeded", "507", "XMinioStorageFull"), FULL),
    **dict.fromkeys(("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"), REFUSED),
    **dict.fromkeys(("ExpiredToken", "InvalidToken"), REFUSED),
}


class MissingError(PipelineError):
    """There is no such object."""


class TakenError(PipelineError):
    """There is an object of that name already, and nothing is overwritten."""


class Object(NamedTuple):
    size: int
    tag: str
    """Changes with the content."""
    modified: datetime


@dataclass(frozen=True)
class Folder:
    """A bucket, or what begins with a prefix in one."""

    client: S3Client
    bucket: str
    prefix: str
    """Empty, or with a slash at its end."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.client, self.bucket, f"{self.prefix}{name}/")

    def key(self, name: str) -> str:
        return self.prefix + name

    def objects(self) -> dict[str, Object]:
        """Return what this folder and those below hold, by the names of objects in it."""
        with errors(self):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
            items = (item for page in pages for item in page.get("Contents", ()))
            return {
                item["Key"].removeprefix(self.prefix): Object(item["Size"], item["ETag"], item["LastModified"])
                for item in items
            }

    def read(self, name: str) -> bytes:
        with errors(self, name):
            return self.client.get_object(Bucket=self.bucket, Key=self.key(name))["Body"].read()

    def create(self, name: str, content: bytes) -> None:
        """Write a small object. Raises TakenError when there is another of that name."""
        try:
            with errors(self, name):
                self.client.put_object(
                    Bucket=self.bucket,
                    Key=self.key(name),
                    Body=content,
                    IfNoneMatch="*",
                    ServerSideEncryption="AES256",
                )
        except TakenError:
            if self.read(name) != content:  # else it is ours, of a request whose answer was lost
                raise

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; in a bucket with versions they can be had back."""
        keys = [self.key(name) for name in names]
        for start in range(0, len(keys), MOST_DELETED):
            some = keys[start : start + MOST_DELETED]
            with errors(self):
                answer = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            if failed := answer.get("Errors"):
                raise PipelineError(f"{self}: {len(failed)} objects are not deleted, the first: {failed[0]}")


def folder(place: str) -> Folder:
    """Return the folder of an address like s3://bucket/folder."""
    parts = urlsplit(place)
    path = parts.path.strip("/")
    try:
        with errors(place):
            client = boto3.Session().client("s3", config=CONFIG)
    except ValueError as error:  # of an address like localhost:9000, without http://
        raise PipelineError(f"{place}: {error}: check AWS_ENDPOINT_URL_S3") from error
    return Folder(client, parts.netloc, f"{path}/" if path else "")


@contextmanager
def errors(place: object, name: str = "") -> Iterator[None]:
    """Turn what boto3 raises into one line that says what was wrong and what would help."""
    where = f"{place}{name}" if name else str(place).rstrip("/")
    try:
        yield
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        keys = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role that has them"
        raise PipelineError(f"{where}: there are no credentials: set {keys}") from None
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        if code in MISSING:
            raise MissingError(f"{where} is not there") from None
        if code in TAKEN:
            raise TakenError(f"{where} is there already") from None
        raise PipelineError(f"{where}: {ADVICE.get(code, error)} ({code})") from error
    except (exceptions.ConnectionError, exceptions.HTTPClientError, Boto3Error) as error:
        raise PipelineError(f"{where} cannot be reached: {error}: run the same command again when it can") from error
    except BotoCoreError as error:
        raise PipelineError(f"{where}: {error}") from error
