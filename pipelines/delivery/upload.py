"""Multipart uploads that go on where an earlier one of the same file stopped: killed, cut off, or out of room.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html. Nothing is visible before all parts are there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from pipelines.s3 import TAKEN, Folder, TakenError, errors

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART = 8 * 1024 * 1024
MOST_PARTS = 10_000
THREADS = 8
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Part:
    number: int
    start: int
    size: int


def upload(path: Path, folder: Folder, name: str, progress: Progress) -> None:
    """Upload a file; `progress` is told of the bytes that are there. Raises TakenError when another was faster."""
    with errors(folder, name):
        try:
            _upload(path, folder, folder.key(name), progress)
        except ClientError as error:
            # Another run goes on with the same upload and has completed it.
            if error.response["Error"]["Code"] == "NoSuchUpload":
                raise TakenError(f"{folder}{name} is there already") from error
            raise


def _upload(path: Path, folder: Folder, key: str, progress: Progress) -> None:
    client, bucket = folder.client, folder.bucket
    parts = split(path.stat().st_size)
    number = _unfinished(folder, key)
    there = _there(folder, key, number) if number else {}
    if not number:
        made = client.create_multipart_upload(Bucket=bucket, Key=key, ServerSideEncryption="AES256")
        number = made["UploadId"]

    def send(part: Part) -> CompletedPartTypeDef:
        with path.open("rb") as file:
            file.seek(part.start)
            content = file.read(part.size)
        digest = hashlib.md5(content, usedforsecurity=False)
        tag = there.get(part.number)
        if tag != f'"{digest.hexdigest()}"':
            tag = client.upload_part(
                Bucket=bucket,
                Key=key,
                UploadId=number,
                PartNumber=part.number,
                Body=content,
                ContentMD5=base64.b64encode(digest.digest()).decode(),
            )["ETag"]
        progress(part.size)
        return {"PartNumber": part.number, "ETag": tag}

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            sent = list(pool.map(send, parts))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    # Services that know no condition here replace equal bytes by equal bytes: the provenance has settled which.
    try:
        client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=number, MultipartUpload={"Parts": sent}, IfNoneMatch="*"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in TAKEN:
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=number)
        raise


def split(size: int) -> list[Part]:
    """Return the parts of a file, at least one: equal for equal sizes, so that an upload can go on later."""
    length = max(PART, -(-size // MOST_PARTS))
    starts = range(0, max(size, 1), length)
    return [Part(number, start, min(length, size - start)) for number, start in enumerate(starts, 1)]


def _unfinished(folder: Folder, key: str) -> str | None:
    pages = folder.client.get_paginator("list_multipart_uploads").paginate(Bucket=folder.bucket, Prefix=key)
    found = [each for page in pages for each in page.get("Uploads", ()) if each["Key"] == key]
    return max(found, key=lambda each: each["Initiated"])["UploadId"] if found else None


def _there(folder: Folder, key: str, number: str) -> dict[int, str]:
    """Return the hashes of the parts that were uploaded, by their numbers."""
    pages = folder.client.get_paginator("list_parts").paginate(Bucket=folder.bucket, Key=key, UploadId=number)
    return {each["PartNumber"]: each["ETag"] for page in pages for each in page.get("Parts", ())}
