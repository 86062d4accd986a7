"""What overlays and components of k8s/ render to, and how to find one's way in it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipelines.command import PipelineError
from pipelines.delivery import environments

FOLDER = Path("k8s")
OVERLAYS, COMPONENTS = FOLDER / "overlays", FOLDER / "components"
DASHBOARDS = Path("monitoring", "dashboards")
NOBODY = "v0.0.0"
"""Stands for the release of an environment that has none yet."""
COMPONENT = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: digits
resources: [../../base]
components: [../../../environments/{environment}, ../../components/release, {component}]
"""

Object = dict[str, Any]


class Pod(NamedTuple):
    """A template of pods: `where` names the object that has it."""

    where: str
    metadata: Object
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("containers", []), *self.spec.get("initContainers", [])]


@dataclass(frozen=True)
class Rendered:
    """All objects of an overlay."""

    name: str
    objects: list[Object]

    def kind(self, *kinds: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] in kinds]

    def named(self, kind: str, name: str) -> Object | None:
        return next((found for found in self.kind(kind) if found["metadata"]["name"] == name), None)

    def pods(self) -> Iterator[Pod]:
        """Give every template of pods, KServe's among them."""
        for found in self.objects:
            where, spec = title(found), found.get("spec") or {}
            if found["kind"] == "Pod":
                yield Pod(where, found["metadata"], spec)
            elif found["kind"] in {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"}:
                yield Pod(where, spec["template"].get("metadata", {}), spec["template"]["spec"])
            elif found["kind"] == "CronJob":
                template = spec["jobTemplate"]["spec"]["template"]
                yield Pod(where, template.get("metadata", {}), template["spec"])
            elif found["kind"] == "InferenceService":
                yield Pod(where, found["metadata"], spec["predictor"])

    def settings(self, container: Object) -> Object:
        """Return what a container's ConfigMaps set, which environments/<name>/serving.env has become."""
        found: Object = {}
        for source in container.get("envFrom", []):
            chosen = self.named("ConfigMap", source.get("configMapRef", {}).get("name", ""))
            found |= chosen.get("data", {}) if chosen else {}
        return found


def title(found: Object) -> str:
    return f"{found['kind']} {found['metadata']['name']}"


def overlays() -> list[str]:
    found = sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))
    if not found:
        raise PipelineError(f"{OVERLAYS} has no overlay: run this in the project's folder")
    return found


def components() -> list[str]:
    return sorted(path.parent.name for path in COMPONENTS.glob("*/kustomization.yaml"))


def overlay(environment: str) -> str:
    """Return the YAML of an environment's overlay, as `kubectl kustomize` renders it. Raises PipelineError."""
    if environment not in overlays():
        raise PipelineError(f"there is no {OVERLAYS / environment}: {' or '.join(overlays())}")
    with _copy() as place:
        return _kustomize(place / OVERLAYS / environment)


def component(name: str) -> str:
    """Return the YAML of the base with one component."""
    with _copy() as place:
        folder = place / OVERLAYS / f"with-{name}"
        folder.mkdir()
        text = COMPONENT.format(environment=overlays()[0], component=f"../../components/{name}")
        (folder / "kustomization.yaml").write_text(text)
        return _kustomize(folder)


def read(name: str, text: str) -> Rendered:
    return Rendered(name, [found for found in yaml.load_all(text, yaml.CSafeLoader) if found])


@contextmanager
def _copy() -> Iterator[Path]:
    """Give the manifests elsewhere, where an environment without a release has one."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (FOLDER, environments.FOLDER, DASHBOARDS):
            shutil.copytree(name, Path(folder, name))
        for file in Path(folder).glob(f"{environments.FOLDER}/*/{environments.FILE}"):
            file.write_text(environments.LINE.sub(lambda line: f"RELEASE={line[1] or NOBODY}", file.read_text()))
        yield Path(folder)


def kubectl() -> str:
    """Return the program, which this project's environment has. Raises PipelineError."""
    if found := shutil.which("kubectl"):
        return found
    raise PipelineError("kubectl is missing: use `make`, or activate the environment that it makes in .venv")


def _kustomize(folder: Path) -> str:
    command = [kubectl(), "kustomize", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
    if result.returncode:
        said = result.stderr.strip().replace(f"{folder.parents[2]}/", "")
        raise PipelineError(f"{folder.relative_to(folder.parents[2])} does not render: {said}")
    return result.stdout
