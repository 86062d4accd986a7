"""The environments: small in production, pinned everywhere, the same on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the `serve` group and nothing else."""
    folder = tmp_path_factory.mktemp("serve") / "venv"
    uv = next(path for path in (ROOT / ".tools" / "uv", ROOT / ".venv" / "bin" / "uv") if path.exists())
    command = [uv, "sync", "--locked", "--only-group", "serve", "--quiet", "--python", sys.executable]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(folder)}, check=True)
    return folder


def test_the_serve_environment_predicts_without_tensorflow(serve: Path) -> None:
    """It imports the predictor and answers, and TensorFlow, Keras and DVC are not in it."""
    code = (
        "import numpy as np, importlib.util as u; from pathlib import Path; from model import inputs, manifest;"
        "from model.predictor import Predictor; p = Predictor(Path('artifacts/model.tflite'));"
        "assert not [m for m in ('tensorflow', 'keras', 'dvc', 'boto3', 'sklearn') if u.find_spec(m)];"
        "m = manifest.load(Path('artifacts'));"
        "print(p.predict(np.zeros((2, *p.input_shape), np.uint8)).shape == (2, len(m.labels)))"
    )
    answer = subprocess.check_output([serve / "bin" / "python", "-c", code], cwd=ROOT, text=True)
    assert answer.strip() == "True"


def test_the_serve_environment_is_small(serve: Path) -> None:
    """Under 200 MB installed."""
    size = sum(path.stat().st_size for path in serve.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 200e6


def test_every_version_is_pinned_with_a_hash() -> None:
    """The lock names a hash for each file that it may install."""
    for package in LOCK["package"]:
        if "registry" in package["source"]:
            files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
            assert files
            assert all(file["hash"].startswith("sha256:") for file in files), package["name"]


def test_python_versions_agree() -> None:
    """Ruff checks for the oldest Python that the project supports."""
    oldest = PROJECT["project"]["requires-python"].split(",")[0].removeprefix(">=")
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


def test_hooks_run_the_locked_tools() -> None:
    """pre-commit downloads nothing: each hook is a program of the environment or uv itself."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["entry"].split()[0].startswith(".venv/bin/"), hook["id"]
