"""Ctrl-C in the middle of every stage, and a disk that is full: `make` again ends well."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project, git, wait_for

# What a stage has written when it is in the middle of its work.
STAGES = {
    "prepare": "artifacts/dataset/images.npy",
    "train": "artifacts/.partial.history.csv",
    "quantize": "artifacts/.quantize-*/model_float32.tflite",
    "evaluate": "artifacts/plots/confusion.csv",
}


def interrupt(project: Project, pattern: str) -> str:
    """Run `make repro`, press Ctrl-C once a file matches, and return the output."""
    process = project.start("make", "repro")
    try:
        wait_for(lambda: any(project.path.glob(pattern)) or process.poll() is not None, pattern)
        assert process.poll() is None, process.communicate()[0]
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    return output


def test_ctrl_c_in_every_stage(small_project: Project) -> None:
    """Each stage can be interrupted; the next run takes up where it was, and Git never sees what DVC stores."""
    small_project.edit("params.yaml", "epochs: 1", "epochs: 8")
    git(small_project.path, "commit", "--all", "--quiet", "--message", "Quick")
    for stage, pattern in STAGES.items():
        output = interrupt(small_project, pattern)
        assert f"Running stage '{stage}'" in output
        status = git(small_project.path, "status", "--porcelain", "--untracked-files=all")
        assert set(status.splitlines()) <= {" M dvc.lock", " M artifacts/metrics.json", " D artifacts/metrics.json"}
    finished = small_project.run("make")
    assert "Running stage 'prepare'" not in finished
    assert "report:" in finished
    assert not list(small_project.path.glob("artifacts/.*"))
    assert "Data and pipelines are up to date" in small_project.run("make", "repro")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], check=False).returncode
    ):
        if os.environ.get("CI") == "true":
            pytest.fail("CI must be able to mount a tmpfs")
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk(small_project: Project, small_disk: Path) -> None:
    """A stage that cannot write says so in one line; with room, `make` goes on."""
    small_project.edit("params.yaml", "height: 12", "height: 28")
    small_project.edit("params.yaml", "width: 12", "width: 28")
    small_project.run("make", "data")
    artifacts = small_project.path / "artifacts"
    metrics = (artifacts / "metrics.json").read_bytes()
    (artifacts / "metrics.json").unlink()
    artifacts.rmdir()
    artifacts.symlink_to(small_disk)
    output = small_project.run("python", "-m", "pipelines.training.prepare", expect=1)
    assert "error: no space left on the disk" in output
    assert "Traceback" not in output
    artifacts.unlink()
    artifacts.mkdir()
    (artifacts / "metrics.json").write_bytes(metrics)
    small_project.run("dvc", "repro", "prepare")


def test_a_full_disk_at_ingest_leaves_the_data(small_project: Project, small_disk: Path) -> None:
    """Shards that do not fit are taken back; nothing half-written stays."""
    (small_disk / "fill").write_bytes(bytes(350_000))
    code = (
        "from pathlib import Path; import sys; from pipelines.command import run;"
        "from pipelines.training.ingest import ingest; from pipelines.training.sources.digits import Digits;"
        "run(lambda: ingest(Digits(), Path(sys.argv[1]) / 'data'))"
    )
    output = small_project.run("python", "-c", code, str(small_disk), expect=1)
    assert "no space left on the disk" in output
    assert [path.name for path in small_disk.iterdir()] == ["fill"]
