"""The test service itself: what tests of storage, credentials and races lean on."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError
from mypy_boto3_s3 import S3Client

from tests.system.gateway import Gateway

BUCKET = "models"


@pytest.fixture
def client(s3: Gateway, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    """A client that knows nothing but the environment, and its bucket."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    found: S3Client = boto3.Session().client("s3")
    found.create_bucket(Bucket=BUCKET)
    return found


def test_round_trip(client: S3Client) -> None:
    """What is put is what comes back, byte for byte."""
    content = bytes(range(256)) * 1000
    client.put_object(Bucket=BUCKET, Key="digits/v1.tflite", Body=content)
    assert client.get_object(Bucket=BUCKET, Key="digits/v1.tflite")["Body"].read() == content


def test_wrong_secret_is_refused(client: S3Client, s3: Gateway) -> None:
    """A known access key with another secret may not write, and leaves nothing behind."""
    stranger = boto3.Session(aws_access_key_id=s3.access_key, aws_secret_access_key="guess").client("s3")
    with pytest.raises(ClientError) as refusal:
        stranger.put_object(Bucket=BUCKET, Key="forged", Body=b"forged")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="forged")["KeyCount"] == 0


def test_conditional_write_is_refused_the_second_time(client: S3Client) -> None:
    """IfNoneMatch='*' writes a new object and never replaces one."""
    client.put_object(Bucket=BUCKET, Key="once", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as refusal:
        client.put_object(Bucket=BUCKET, Key="once", Body=b"second", IfNoneMatch="*")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert client.get_object(Bucket=BUCKET, Key="once")["Body"].read() == b"first"
