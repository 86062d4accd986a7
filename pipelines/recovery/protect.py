"""Make the bucket of backups, or bring an existing one up to what policy.yaml beside this file says.

python -m pipelines.recovery.protect

Versions, object lock and lifecycle. Needs a role that may configure buckets, which backups do not.
A bucket that was made without object lock may not get it: make another. It is for backups alone: rules are replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from pipelines import s3
from pipelines.command import PipelineError, run
from pipelines.delivery import settings
from pipelines.recovery import snapshots
from pipelines.s3 import Folder

POLICY = Path(__file__).with_name("policy.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    place = snapshots.place(settings.load())
    protect(place, yaml.safe_load(POLICY.read_text()))
    print(f"{place.bucket}: versions, object lock and lifecycle, as in {POLICY.name}")


def protect(place: Folder, policy: dict[str, Any]) -> None:
    """Raise PipelineError when the bucket is not as the policy says afterwards."""
    client, bucket = place.client, place.bucket
    with s3.errors(place):
        if not _exists(place):
            region = client.meta.region_name
            # us-east-1 is what S3 takes for none, and refuses when named.
            where: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True, **where)
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=policy["versioning"])
        client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=policy["object_lock"])
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=policy["lifecycle"])
        if client.get_bucket_versioning(Bucket=bucket).get("Status") != policy["versioning"]["Status"]:
            raise PipelineError(f"{place.bucket} keeps no versions, though it was told to")


def _exists(place: Folder) -> bool:
    names = [each["Name"] for each in place.client.list_buckets()["Buckets"]]
    return place.bucket in names


if __name__ == "__main__":
    run(main)
