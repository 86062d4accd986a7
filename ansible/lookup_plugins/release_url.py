"""An address from which a host may fetch one file of a release for an hour, without credentials of its own.

lookup('release_url', 's3://bucket/folder', 'v1.2.3', 'bundle.tar'): Signature Version 4 in the query, made here with
the credentials that boto3 finds; https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

EXPIRES = 3600


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: object = None, **_: object) -> list[str]:  # noqa: ARG002 (Ansible's)
        folder, tag, name = terms
        address = urlsplit(folder)
        key = "/".join(filter(None, (address.path.strip("/"), "releases", tag, name)))
        if address.scheme == "https":
            return [f"https://{address.netloc}/{key}"]
        if address.scheme != "s3":
            raise AnsibleLookupError(f"{folder or 'nothing'} is no place of releases: expected s3://... or https://...")
        import boto3  # noqa: PLC0415 (devices that fetch by https lack it)
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        try:
            client = boto3.session.Session().client(
                "s3",
                endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3"),  # that of Debian 12 does not look for it
                config=Config(signature_version="s3v4"),
            )
            place = {"Bucket": address.netloc, "Key": key}
            return [client.generate_presigned_url("get_object", Params=place, ExpiresIn=EXPIRES)]
        except (BotoCoreError, ValueError) as error:
            raise AnsibleLookupError(f"{folder}: {error}") from error
