"""Where a release says it comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from model.manifest import MODEL, Manifest
from pipelines.command import PipelineError
from pipelines.delivery import provenance

MANIFEST = Manifest(
    labels=["0", "1"],
    input_shape=(12, 12, 1),
    scheme="int8",
    data_sha256="d" * 64,
    params={"train": {"epochs": 3}},
    files={MODEL: "f" * 64},
    version="v1.2.3",
    commit="c" * 40,
)
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "team/digits",
    "GITHUB_RUN_ID": "12",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_WORKFLOW_REF": "team/digits/.github/workflows/release.yml@refs/tags/v1.2.3",
}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    (tmp_path / "uv.lock").touch()
    (tmp_path / "bundle.tar").write_bytes(b"bundle")
    return tmp_path / "bundle.tar"


def test_it_is_what_slsa_asks_for(bundle: Path) -> None:
    """It names the bytes, commit, data, settings, builder and run, and reads back as it was written."""
    statement = provenance.make(bundle, MANIFEST, GITHUB)
    assert provenance.decode(provenance.encode(statement)) == statement
    provenance.check(statement, bundle)
    provenance.compare(statement, MANIFEST)
    assert statement.builder == f"https://github.com/{GITHUB['GITHUB_WORKFLOW_REF']}"
    written = msgspec.json.decode(provenance.encode(statement))
    assert written["predicate"]["runDetails"]["metadata"]["invocationId"].endswith("/actions/runs/12/attempts/2")
    assert written["_type"] == "https://in-toto.io/Statement/v1"


def test_another_run_tells_the_same(bundle: Path) -> None:
    """Of the same builder; another builder does not, nor another commit."""
    one = provenance.make(bundle, MANIFEST, GITHUB)
    assert provenance.agree(one, provenance.make(bundle, MANIFEST, GITHUB | {"GITHUB_RUN_ID": "13"}))
    assert not provenance.agree(one, provenance.make(bundle, MANIFEST, {}))
    other = msgspec.structs.replace(MANIFEST, commit="e" * 40)
    assert not provenance.agree(one, provenance.make(bundle, other, GITHUB))


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", "v1.2.4"), ("commit", "e" * 40), ("data_sha256", "e" * 64), ("params", {})],
)
def test_what_does_not_fit_is_named(bundle: Path, field: str, value: object) -> None:
    """Other bytes, or a manifest that tells another origin."""
    statement = provenance.make(bundle, MANIFEST, {})
    said = {"version": "tag", "data_sha256": "data"}.get(field, field)
    with pytest.raises(PipelineError, match=f"tells of another {said}"):
        provenance.compare(statement, msgspec.structs.replace(MANIFEST, **{field: value}))
    bundle.write_bytes(b"other")
    with pytest.raises(PipelineError, match="is not what the provenance is about"):
        provenance.check(statement, bundle)


@pytest.mark.parametrize(
    ("remote", "said"),
    [
        ("https://user:token@gitlab.example.com:8443/team/digits.git", "https://gitlab.example.com:8443/team/digits"),
        ("git@gitlab.example.com:team/digits.git", "gitlab.example.com:team/digits.git"),
        ("ssh://git@gitlab.example.com/team/digits.git", "ssh://gitlab.example.com/team/digits"),
        ("../forge.git", "../forge.git"),
    ],
)
def test_no_credentials_get_into_it(bundle: Path, remote: str, said: str) -> None:
    """A remote's address may hold a token; a release tells it to everybody."""
    subprocess.run(["git", "remote", "add", "origin", remote], check=True)
    assert provenance.repository() == said
    assert b"token@" not in provenance.encode(provenance.make(bundle, MANIFEST, {}))


def test_what_is_no_provenance() -> None:
    """It says so."""
    with pytest.raises(PipelineError, match="no provenance that can be read"):
        provenance.decode(b"{}")
