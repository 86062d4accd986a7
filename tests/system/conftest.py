"""A project that was trained once, for all tests that begin with one."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import trustme
from PIL.Image import fromarray
from sklearn.datasets import load_digits

from pipelines.local_forge import runner
from tests.conftest import Project, copy_project, git, need, shrink
from tests.once import Once
from tests.system.containers import IMAGES, PROGRAMS, Podman
from tests.system.gateway import Gateway

BUCKETS = ("released", "released-data")
"""Of the released project: each worker has a service of its own."""
FLOORS = (
    ("accuracy: {floor: 0.95", "accuracy: {floor: 0.1"),
    ("macro_f1: {floor: 0.95", "macro_f1: {floor: 0.1"),
    ("log_loss: {ceiling: 0.2", "log_loss: {ceiling: 9.0"),
    ("calibration_error: {ceiling: 0.05", "calibration_error: {ceiling: 0.9"),
    ("slices: {floor: 0.8", "slices: {floor: 0.0"),
    ("quantization: {agreement: 0.98, margin: 0.02}", "quantization: {agreement: 0.1, margin: 0.9}"),
    ("robustness: {floor: 0.5", "robustness: {floor: 0.0"),
    ("invariance: {floor: 0.95", "invariance: {floor: 0.0"),
    ("direction: {floor: 0.9", "direction: {floor: 0.0"),
)

# The leanest that docs/kubernetes.md allows: no certificates, but a CA of the team's own among its files.
BASE = "FROM {base}\nCOPY team.crt /usr/local/share/ca-certificates/\n"


@pytest.fixture(scope="session")
def finished(once: Once) -> Project:
    """One commit with a model that was trained for an epoch, and floors that it meets. Tests copy it: `copy_of`."""

    def make(folder: Path) -> None:
        project = copy_project(folder / "project")
        shrink(project)
        for old, new in FLOORS:
            project.edit("params.yaml", old, new)
        (project.path / "golden.yaml").write_text("[]\n")
        project.run("make", "repro")
        git(project.path, "add", "--all")
        git(project.path, "commit", "--quiet", "--amend", "--message", "First")

    return Project(once.folder("finished", make) / "project")


def copy_of(project: Project, path: Path) -> Project:
    """Copy all of a project, what it made and its cache among it."""
    shutil.copytree(project.path, path, symlinks=True)
    for key, value in (("user.name", "Test"), ("user.email", "test@example.com")):
        git(path, "config", key, value)
    return Project(path)


def with_few_checks(project: Project) -> Project:
    """Leave few tests and types to check: a pipeline that ran this very suite would never end."""
    for name in ("ansible", "contracts", "pipelines", "serving"):
        shutil.rmtree(project.path / "tests" / name)
    for file in [*(project.path / "tests").glob("system/test_*.py"), *(project.path / "tests").glob("model/test_*.py")]:
        if file.name != "test_inputs.py":
            file.unlink()
    project.edit(
        "pyproject.toml",
        'files = ["model", "pipelines", "serving", "benchmarks", ".ci/bootstrap.py"]',
        'files = ["model"]',
    )
    project.edit("Makefile", "--numprocesses=auto ", "")
    return project


def make_forge(project: Project, once: Once) -> Path:
    """Run `make forge` and return its folder; the runner and the jobs' environment are those of other tests' forges."""
    forge = project.path / ".forge"
    forge.mkdir()
    tools = once.folder("forge", lambda folder: (runner.install(folder / "runner"), (folder / "environments").mkdir()))
    for tool in tools.iterdir():
        (forge / tool.name).symlink_to(tool)
    project.run("make", "forge")
    return forge


def share(project: Project, s3: Gateway, bucket: str) -> None:
    """Make a new bucket the project's DVC remote, push what there is, and commit."""
    make_bucket(s3, bucket)
    project.run("dvc", "remote", "add", "--default", "store", f"s3://{bucket}/digits")
    project.run("dvc", "config", "remote.store.verify", "true")
    project.run("dvc", "push", "--run-cache", **s3.environment())
    git(project.path, "commit", "--quiet", "--all", "--message", "Once")


def photographs(folder: Path, count: int) -> Path:
    """Write digits in dark ink on light ground, as folders by label: what the model has never seen."""
    images, labels = load_digits(return_X_y=True)
    for number in range(count):
        place = folder / str(labels[number])
        place.mkdir(parents=True, exist_ok=True)
        pixels = (255 - images[number].reshape(8, 8) * 15).astype(np.uint8)
        fromarray(pixels).save(place / f"{number:03}.png")
    return folder


def make_bucket(s3: Gateway, bucket: str) -> None:
    s3.client().create_bucket(Bucket=bucket)


@pytest.fixture(scope="session")
def signing_key(once: Once) -> Path:
    """A private key, with its public half in release.pem beside it."""
    need("openssl")

    def make(folder: Path) -> None:
        private = folder / "signing.pem"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private], check=True)
        subprocess.run(["openssl", "ec", "-in", private, "-pubout", "-out", folder / "release.pem"], check=True)

    return once.folder("keys", make) / "signing.pem"


def with_releases(project: Project, s3: Gateway, bucket: str, signing_key: Path) -> None:
    """Give a project a place for releases and one for backups, and commit; a release is for this machine alone."""
    make_bucket(s3, bucket)
    shutil.copy(signing_key.with_name("release.pem"), project.path)
    project.edit("delivery.yaml", "releases: null", f"releases: s3://{bucket}/team")
    project.edit("delivery.yaml", "public_key: null", "public_key: release.pem")
    project.edit("delivery.yaml", "bucket: null", f"bucket: s3://{bucket}-backup/team")
    project.edit("delivery.yaml", "machine: [x86_64, aarch64]", f"machine: [{platform.machine()}]")
    version = ".".join(platform.python_version_tuple()[:2])
    if version != "3.11":  # Debian 12's, for which there are tests, and this machine's
        project.edit("delivery.yaml", 'python: ["3.11"]', f'python: ["3.11", "{version}"]')
    git(project.path, "add", "--all")
    git(project.path, "commit", "--quiet", "--message", "Releases")


@pytest.fixture(scope="session")
def released(finished: Project, s3: Gateway, signing_key: Path, once: Once) -> tuple[Project, str]:
    """A project with a published release v1.0.0, and what its release printed. Tests copy it, and release others."""

    def make(folder: Path) -> None:
        project = copy_of(finished, folder / "project")
        share(project, s3, "released-data")
        with_releases(project, s3, "released", signing_key)
        project.run("python", "-m", "pipelines.delivery.tag", "v1.0.0", "--message", "First", **s3.environment())
        keys = {"SIGNING_KEY": str(signing_key), **s3.environment()}
        (folder / "output").write_text(project.run("make", "release", "TAG=v1.0.0", **keys))
        for bucket in BUCKETS:
            s3.save(bucket, folder / bucket)

    folder = once.copy("released", make)
    for bucket in BUCKETS:
        s3.load(bucket, folder / bucket)
    return Project(folder / "project"), (folder / "output").read_text()


@dataclass(frozen=True)
class Image:
    """The container images of v1.0.0, on a base made here, and the project that they were built in."""

    project: Project
    base: str
    name: str
    authority: trustme.CA
    """Whose certificates the base brings; it has no others."""

    @property
    def operations(self) -> str:
        return self.name.replace(":", "-operations:")


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    need(*PROGRAMS)
    return Podman(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="session")
def image(released: tuple[Project, str], s3: Gateway, podman: Podman, once: Once) -> Iterator[Image]:
    def make(folder: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "team.crt"))
        authority.private_key_pem.write_to_path(str(folder / "team.key"))
        base = podman.build("base", BASE.format(base=podman.base()), folder)
        digest = podman.run("image", "inspect", "--format={{.Digest}}", base).strip()
        name = f"{IMAGES}/model-server-{uuid4().hex}"
        project = copy_of(released[0], folder / "project")
        project.edit("delivery.yaml", "  name: null", f"  name: {name}")
        project.edit("delivery.yaml", "  base: null", f"  base: {base}@{digest}")
        project.run("make", "image", "TAG=v1.0.0", **podman.environment, **s3.environment())
        (folder / "names").write_text(f"{base} {name}:v1.0.0")

    def read(folder: Path) -> Image:
        base, name = (folder / "names").read_text().split()
        authority = trustme.CA.from_pem((folder / "team.crt").read_bytes(), (folder / "team.key").read_bytes())
        return Image(Project(folder / "project"), base, name, authority)

    def end(folder: Path) -> None:
        made = read(folder)
        for name in (made.name, made.operations, made.base):
            remove(podman, name)

    with once.lease("image", make, end) as folder:
        yield read(folder)


def remove(podman: Podman, name: str) -> None:
    """Remove an image that was built here, which a list of one for each processor names."""
    number = podman.run("image", "inspect", "--format={{.Id}}", name, check=False).split()
    podman.run("manifest", "rm", name, check=False)
    podman.run("rmi", "--force", *number[-1:], check=False)
