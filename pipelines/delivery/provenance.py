"""Whence a release comes, as an in-toto statement with SLSA provenance: commit, data, settings, and who built it.

https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from model.manifest import MODEL, Manifest, sha256
from model.release import BUNDLE
from pipelines.command import PipelineError
from pipelines.review.repository import git, remote

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
LOCK = Path("uv.lock")
HERE = "local"
"""Who built what no forge did."""


class Resource(msgspec.Struct, omit_defaults=True, kw_only=True):
    digest: dict[str, str]
    name: str = ""
    uri: str = ""


class Definition(msgspec.Struct, rename="camel"):
    build_type: str
    external_parameters: dict[str, Any]
    resolved_dependencies: list[Resource]


class Builder(msgspec.Struct):
    id: str


class Metadata(msgspec.Struct, rename="camel"):
    invocation_id: str


class Details(msgspec.Struct):
    builder: Builder
    metadata: Metadata


class Predicate(msgspec.Struct, rename="camel"):
    build_definition: Definition
    run_details: Details


class Statement(msgspec.Struct, rename="camel"):
    type: str = msgspec.field(name="_type")
    subject: list[Resource]
    predicate_type: str
    predicate: Predicate

    @property
    def definition(self) -> Definition:
        return self.predicate.build_definition

    @property
    def builder(self) -> str:
        return self.predicate.run_details.builder.id


def make(bundle: Path, manifest: Manifest, environment: Mapping[str, str]) -> Statement:
    """Return the statement on a bundle whose manifest names version and commit."""
    source, version = repository(), manifest.version
    builder, invocation = _run(environment)
    return Statement(
        type=STATEMENT,
        subject=[
            Resource(name=BUNDLE, digest={"sha256": sha256(bundle)}),
            Resource(name=MODEL, digest={"sha256": manifest.files[MODEL]}),
        ],
        predicate_type=PREDICATE,
        predicate=Predicate(
            Definition(
                build_type=f"{source}/docs/releases.md",
                external_parameters={"tag": version, "params": manifest.params},
                resolved_dependencies=[
                    Resource(uri=f"git+{source}@refs/tags/{version}", digest={"gitCommit": manifest.commit or ""}),
                    Resource(name="data", digest={"sha256": manifest.data_sha256}),
                    Resource(name=str(LOCK), digest={"sha256": sha256(LOCK)}),
                ],
            ),
            Details(Builder(builder), Metadata(invocation)),
        ),
    )


def encode(statement: Statement) -> bytes:
    return msgspec.json.format(msgspec.json.encode(statement)) + b"\n"


def decode(data: bytes) -> Statement:
    try:
        return msgspec.json.decode(data, type=Statement)
    except msgspec.DecodeError as error:
        raise PipelineError(f"no provenance that can be read: {error}") from error


def check(statement: Statement, bundle: Path) -> None:
    """Raise PipelineError unless a statement is on these very bytes."""
    said = {each.name: each.digest.get("sha256") for each in statement.subject}.get(BUNDLE)
    if (statement.type, statement.predicate_type) != (STATEMENT, PREDICATE):
        raise PipelineError(f"the provenance is a {statement.predicate_type}, expected {PREDICATE}")
    if said != sha256(bundle):
        raise PipelineError(f"{bundle.name} is not what the provenance is about: its sha256 differs")


def compare(statement: Statement, manifest: Manifest) -> None:
    """Raise PipelineError unless a statement and a manifest tell the same origin."""
    digests = {each.name or "commit": each.digest for each in statement.definition.resolved_dependencies}
    said = {
        "tag": (statement.definition.external_parameters.get("tag"), manifest.version),
        "commit": (digests.get("commit", {}).get("gitCommit"), manifest.commit),
        "data": (digests.get("data", {}).get("sha256"), manifest.data_sha256),
        "params": (statement.definition.external_parameters.get("params"), manifest.params),
    }
    for name, (told, found) in said.items():
        if told != found:
            raise PipelineError(f"the provenance tells of another {name} than the manifest: {told} and {found}")


def agree(one: Statement, other: Statement) -> bool:
    """Whether two statements differ in nothing but the run that made them."""
    return (one.subject, one.definition, one.builder) == (other.subject, other.definition, other.builder)


def repository() -> str:
    """Return where this repository comes from, without anybody's credentials."""
    name = remote()
    if name is None:
        return HERE
    address = git("remote", "get-url", name).strip()
    parts = urlsplit(address)
    if not parts.hostname:  # a folder, or git@host:team/name
        return address.rpartition("@")[2]
    host = parts.hostname + (f":{parts.port}" if parts.port else "")
    return urlunsplit((parts.scheme, host, parts.path.removesuffix(".git"), "", ""))


def _run(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return who builds, and the address of this very run."""
    if environment.get("GITHUB_ACTIONS") == "true":
        server, number = environment["GITHUB_SERVER_URL"], environment["GITHUB_RUN_ID"]
        run = f"{server}/{environment['GITHUB_REPOSITORY']}/actions/runs/{number}"
        return f"{server}/{environment['GITHUB_WORKFLOW_REF']}", f"{run}/attempts/{environment['GITHUB_RUN_ATTEMPT']}"
    if environment.get("GITLAB_CI") == "true":
        project = environment["CI_PROJECT_URL"]
        return f"{project}//.gitlab-ci.yml@{environment['CI_COMMIT_REF_NAME']}", environment["CI_JOB_URL"]
    return HERE, HERE
