"""What tests share: pictures, and copies of the project to run commands in."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from pipelines.params import Params
from tests.once import Once
from tests.system.gateway import PROGRAMS, Gateway, gateway

ROOT = Path(__file__).parent.parent
DEMONSTRATION = Path(__file__).parent / "demonstration"
"""The settings and the data that tests use, so that they hold whatever a team makes of its own."""

# A slow machine is no failure; CI tries the same cases each time, a person new ones.
settings.register_profile("project", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("project")

LONG = (
    *("servers", "forge", "alerts", "server_roles", "sharing", "release", "devices", "retraining", "actions"),
    *("gate", "fairness", "lifecycle", "quantize", "http"),
)
"""Files that take long, the longest first; those of tests/system come before all others: docs/tests.md."""


def pytest_xdist_auto_num_workers() -> int | None:
    """Half as many again as there are cores: some tests wait for most of their time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # as whoever runs them says
    return max(2, (os.cpu_count() or 1) * 3 // 2)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker is left with it at the end; the quick files close the gaps."""
    places = {f"test_{name}": place for place, name in enumerate(LONG)}

    def place(item: pytest.Item) -> tuple[bool, int]:
        return item.path.parent.name != "system", places.get(item.path.stem, len(LONG))

    items.sort(key=place)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(seed: int = 0, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
    """Return a picture of random pixels; size is width and height."""
    width, height = size
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes `<label>/<n>.png` for each label and count, every picture another."""

    def write(counts: dict[str, int], name: str = "photos", first: int = 0) -> Path:
        folder = tmp_path / name
        seed = first
        for label, count in counts.items():
            (folder / label).mkdir(parents=True)
            for number in range(count):
                (folder / label / f"{number:03}.png").write_bytes(encode(picture(seed)))
                seed += 1
        return folder

    return write


@dataclass(frozen=True)
class Project:
    """A copy of the working tree, as a repository of its own with the environment of this one."""

    path: Path

    def environment(self) -> dict[str, str]:
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "CI_", "GIT_", "GITHUB_", "GITLAB_", "MAKE", "MFLAGS", "PYTEST_"))
        }
        own.pop("PYTHONDONTWRITEBYTECODE", None)
        # What mypy knows of packages need not be found out by each clone that a forge makes of this.
        return own | {"PATH": f"{self.path}/.venv/bin:{own['PATH']}", "MYPY_CACHE_DIR": f"{self.path}/.mypy_cache"}

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A background job ignores Ctrl-C and hands that down; a person's shell does not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (one call, no locks)
        )

    def run(self, *command: str, expect: int = 0, timeout: float = 600, **variables: str) -> str:
        """Run a command to its end and return its output; fail when its exit code is not the expected one."""
        process = self.start(*command, **variables)
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
        assert process.returncode == expect, f"{' '.join(command)} ended with {process.returncode}:\n{output}"
        return output

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.path / name
        text = file.read_text()
        assert old in text, f"{name} has no {old!r}"
        file.write_text(text.replace(old, new))


def copy_tree(target: Path) -> None:
    """Copy what Git tracks or would track, with its times, as a repository of its own with the demonstration's data."""
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for name in ("params.yaml", "data.dvc", "golden.yaml"):
        shutil.copy2(DEMONSTRATION / name, target / name)
    (target / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    git(target, "init", "--quiet", "--initial-branch=main")
    git(target, "add", "--all")
    git(target, "commit", "--quiet", "--message", "Copy")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=folder, text=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project without data, artifacts or cache; its environment is already there."""
    return copy_project(tmp_path / "project")


def copy_project(path: Path) -> Project:
    path.mkdir()
    copy_tree(path)
    for name in (".venv", ".tools"):
        if (ROOT / name).exists():
            (path / name).symlink_to(ROOT / name)
    return Project(path)


def clone_project(origin: Project, path: Path) -> Project:
    """Make a fresh clone of what a project has committed: no data, no cache."""
    git(path.parent, "clone", "--quiet", str(origin.path), str(path))
    (path / ".venv").symlink_to(ROOT / ".venv")
    return Project(path)


@pytest.fixture
def small_project(project: Project) -> Project:
    """The same with quick settings: one epoch on small pictures."""
    shrink(project)
    return project


def shrink(project: Project) -> None:
    project.edit("params.yaml", "epochs: 30", "epochs: 1")
    project.edit("params.yaml", "height: 28", "height: 12")
    project.edit("params.yaml", "width: 28", "width: 12")
    project.edit("params.yaml", "min_agreement: 0.97", "min_agreement: 0.5")


def flip(name: str) -> Callable[[Path], None]:
    """Return a function that changes one bit of a file in a folder."""

    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return damage


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 60, every: float = 0.02) -> None:
    """Ask every so many seconds until a condition holds; ask less often where asking is costly."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(every)


def need(*programs: str) -> None:
    """Skip when a program is missing; under CI=true that is a failure instead."""
    missing = ", ".join(name for name in programs if shutil.which(name) is None)
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI needs {missing}: install it in .ci/run")
    if missing:
        pytest.skip(f"needs {missing}")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    return Once(tmp_path_factory)


@pytest.fixture(scope="session")
def digits(once: Once) -> Path:
    """The digits as shards: a data folder."""
    from pipelines.training.ingest import ingest  # noqa: PLC0415 (slow, and not every run needs it)
    from pipelines.training.sources.digits import Digits  # noqa: PLC0415

    return once.folder("digits", lambda folder: ingest(Digits(), folder / "data")) / "data"


@pytest.fixture(scope="session")
def trained(once: Once, digits: Path) -> Path:
    """A folder like artifacts/ with digits of 12x12 pixels and a network after three epochs, quantized."""
    from pipelines import params  # noqa: PLC0415
    from pipelines.training.dataset import Dataset  # noqa: PLC0415
    from pipelines.training.prepare import prepare  # noqa: PLC0415
    from pipelines.training.quantize import quantize  # noqa: PLC0415
    from pipelines.training.train import train  # noqa: PLC0415

    chosen = quick(params.load(DEMONSTRATION / "params.yaml"))

    def make(folder: Path) -> None:
        prepare(digits, folder / "dataset", chosen.prepare)
        dataset = Dataset(folder / "dataset")
        train(dataset, chosen.train, folder / "model.weights.h5", folder / "history.csv")
        quantize(dataset, folder / "model.weights.h5", folder, chosen)

    return once.folder("trained", make)


def quick(chosen: Params) -> Params:
    """Return settings that take seconds."""
    replace = msgspec.structs.replace
    return replace(
        chosen,
        prepare=replace(chosen.prepare, height=12, width=12),
        train=replace(chosen.train, epochs=3, warmup_epochs=1),
        quantize=replace(chosen.quantize, calibration_examples=100),
    )


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A real S3 service with one user."""
    need(*PROGRAMS)
    with gateway(tmp_path_factory.mktemp("s3")) as running:
        yield running
