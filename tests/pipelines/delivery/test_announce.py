"""A release on the forge's page: all files or none to be seen, and again without harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.command import PipelineError
from pipelines.delivery.announce import announce, changes
from pipelines.local_forge import api
from tests.pipelines.delivery import github

FILES = {"bundle.tar": b"bundle" * 1000, "model.sig": b"signature", "provenance.json": b"{}"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.2.3").mkdir()
    for name, content in FILES.items():
        (tmp_path / "v1.2.3" / name).write_bytes(content)
    return tmp_path / "v1.2.3"


def test_on_github(folder: Path) -> None:
    """A draft until all files are there; what an upload that failed has left, the next run goes on with."""
    with github.serve() as forge:
        forge.failing.add("model.sig")
        with pytest.raises(PipelineError, match="502"):
            list(announce("v1.2.3", folder, "Better", forge.environment()))
        assert (forge.releases[0]["draft"], set(forge.files)) == (True, {"bundle.tar"})
        for _ in range(2):
            assert "announced on GitHub" in "".join(announce("v1.2.3", folder, "Better", forge.environment()))
        assert forge.files == FILES
        (release,) = forge.releases
        assert (release["draft"], release["prerelease"], release["body"]) == (False, False, "Better")


def test_on_gitlab(folder: Path, tmp_path: Path) -> None:
    """Files are packages, the release links to them; announced again the notes are new."""
    with api.serve(tmp_path / "forge", "secret") as port:
        environment = {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": f"http://127.0.0.1:{port}/api/v4",
            "CI_PROJECT_ID": "1",
            "CI_PROJECT_URL": "https://gitlab.example.com/team/digits",
            "CI_JOB_TOKEN": "secret",
        }
        for notes in ("Better", "Better still"):
            (said,) = announce("v1.2.3-rc.1", folder, notes, environment)
        assert said == "announced on GitLab: https://gitlab.example.com/team/digits/-/releases/v1.2.3-rc.1"
        with pytest.raises(PipelineError, match="401"):
            list(announce("v1.2.3", folder, "Better", environment | {"CI_JOB_TOKEN": "wrong"}))
    kept = tmp_path / "forge" / "releases" / "v1.2.3-rc.1"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == FILES | {"notes.md": b"Better still"}


def test_nowhere(folder: Path) -> None:
    """On a person's machine nothing is announced."""
    assert list(announce("v1.2.3", folder, "Better", {})) == ["not announced: this is not the job of a forge"]


def test_what_the_changelog_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version's own section, with or without v, date and link; else what is unreleased; else nothing."""
    monkeypatch.chdir(tmp_path)
    assert changes("v1.0.0") == ""
    Path("CHANGELOG.md").write_text(
        "# Log\n\n## Unreleased\n\nNew\n\n## [1.1.0] - 2026-11-01\n\n### Added\n\n- Sevens\n\n## v1.0.0\n\nFirst\n"
    )
    assert changes("v1.2.0") == "New"
    assert changes("v1.1.0") == "### Added\n\n- Sevens"
    assert changes("v1.0.0") == "First"
