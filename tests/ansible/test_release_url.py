"""Where a host fetches a release from."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from ansible.errors import AnsibleLookupError

from tests.ansible.plugins import load


def url(folder: str) -> str:
    (found,) = load("lookup_plugins/release_url").LookupModule().run([folder, "v1.2.3", "bundle.tar"])
    return str(found)


def test_an_address_is_good_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of S3 it is signed for one file; a mirror's is plain."""
    for name, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "hidden"), ("AWS_DEFAULT_REGION", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example.com")
    signed = urlsplit(url("s3://bucket/team"))
    assert (signed.netloc, signed.path) == ("s3.example.com", "/bucket/team/releases/v1.2.3/bundle.tar")
    assert parse_qs(signed.query)["X-Amz-Expires"] == ["3600"]
    assert "hidden" not in signed.geturl()
    assert url("https://releases.example.com/team/") == "https://releases.example.com/team/releases/v1.2.3/bundle.tar"


@pytest.mark.parametrize("folder", ["", "http://releases.example.com", "dist"])
def test_what_is_no_place(folder: str) -> None:
    """Plain HTTP is none."""
    with pytest.raises(AnsibleLookupError, match=r"is no place of releases: expected s3://\.\.\. or https://"):
        url(folder)
