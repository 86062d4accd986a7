"""`delivery.yaml`, typed: what a release holds, who vouches for it, and where it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from pipelines import documents
from pipelines.command import PipelineError
from pipelines.documents import Section

PATH = Path("delivery.yaml")

Place = Annotated[str, Meta(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$")]
Python = Annotated[str, Meta(pattern=r"^3\.[0-9]+$")]
Amount = Annotated[int, Meta(ge=0)]


class Signing(Section, frozen=True):
    public_key: str | None
    identity: str | None
    issuer: str | None


class Hosts(Section, frozen=True):
    python: Annotated[list[Python], Meta(min_length=1)]
    machine: Annotated[list[Literal["x86_64", "aarch64"]], Meta(min_length=1)]


class Image(Section, frozen=True):
    name: str | None
    base: str | None


class Keep(Section, frozen=True):
    """How many days, weeks, months and years keep the last backup that was made in them."""

    daily: Annotated[int, Meta(ge=1)]
    weekly: Amount
    monthly: Amount
    yearly: Amount


class Backup(Section, frozen=True):
    bucket: Place | None
    keep: Keep


class Card(Section, frozen=True):
    name: str
    summary: str
    use: str
    misuse: str
    data: str
    limits: str
    licence: str
    contact: str


class Settings(Section, frozen=True):
    releases: Place | None
    signing: Signing
    hosts: Hosts
    image: Image
    servers: list[str]
    backup: Backup
    card: Card


def load(path: Path = PATH) -> Settings:
    """Read and check the file. Raises PipelineError naming the key, what it holds and what it should."""
    settings = documents.load(path, Settings)
    if (settings.signing.identity is None) != (settings.signing.issuer is None):
        raise PipelineError(f"{path}: signing: identity and issuer go together")
    if settings.signing.public_key and settings.signing.identity:
        raise PipelineError(f"{path}: signing: either a public_key or an identity vouches for a release")
    return settings
