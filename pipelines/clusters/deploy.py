"""Push what an environment is to run into the cluster that kubectl points at; a release that fails there is undone."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from model.release import BUNDLE
from pipelines.clusters import manifests
from pipelines.clusters.manifests import Rendered
from pipelines.command import PipelineError
from pipelines.delivery import bundle, environments, store
from pipelines.delivery.release import DIST
from pipelines.delivery.settings import Settings

CHANGED = ("ConfigMap", "Deployment")
"""What a release or a setting changes, and all that a deployer may; the rest is applied once, by who may do more."""
DEPLOYMENT = "deployment/model-server"
FORWARDING = re.compile(r"Forwarding from (127\.0\.0\.1:\d+) ")
EXAMPLES = "examples.json"


def deploy(environment: str, rendered: Rendered, chosen: Settings) -> None:
    """Show the difference, apply it, wait, and ask for predictions with known answers. Raises PipelineError."""
    release = environments.current(environment)
    if not release:
        raise PipelineError(f"{environment} has no release yet: `make promote ENV={environment} TAG=v1.2.3`")
    objects = yaml.safe_dump_all(rendered.kind(*CHANGED))
    namespace = rendered.kind("Deployment")[0]["metadata"]["namespace"]
    with tempfile.TemporaryDirectory() as folder:
        examples = _examples(release, chosen, Path(folder))
        differs = _kubectl("diff", "--filename=-", given=objects)
        if differs == 0:
            print(f"{environment}: the cluster has all of it already")
            return
        if differs != 1:
            raise PipelineError(
                f"{environment}: nothing was changed, see above: is the cluster of `kubectl config view` right?"
            )
        if _kubectl("apply", "--server-side", "--field-manager=slipway", "--filename=-", given=objects):
            raise PipelineError(f"{environment}: not applied, see above")
        if problem := _try(namespace, release, examples):
            raise PipelineError(f"{environment}: {release} is refused: {problem}\n{_undo(namespace, environment)}")
    print(f"{environment}: {release} serves")


def _examples(release: str, chosen: Settings, folder: Path) -> Path:
    """Return the pictures with their answers that a release brings, which holds in every byte."""
    place = DIST / release
    if chosen.releases:
        place = folder / "published"
        place.mkdir()
        store.fetch(store.releases(chosen), release, place)
    store.verify(place, release, chosen)
    bundle.read(place / BUNDLE, release, folder / "unpacked")
    return folder / "unpacked" / release / EXAMPLES


def _try(namespace: str, release: str, examples: Path) -> str:
    """Return why the release does not serve, or nothing."""
    if _kubectl("rollout", "status", DEPLOYMENT, "--timeout=300s", namespace=namespace):
        return "its pods did not become ready, see above"
    with _forward(namespace) as address:
        command = [sys.executable, "-m", "serving.client", f"--url=http://{address}"]
        result = subprocess.run(  # noqa: S603 (our own)
            [*command, f"--examples={examples}", f"--release={release}"], capture_output=True, text=True, check=False
        )
    return result.stderr.strip().removeprefix("error: ") if result.returncode else ""


def _undo(namespace: str, environment: str) -> str:
    if _kubectl("rollout", "undo", DEPLOYMENT, namespace=namespace):
        return "there is nothing to go back to"
    if _kubectl("rollout", "status", DEPLOYMENT, "--timeout=300s", namespace=namespace):
        return "and what ran before does not come back either, see above"
    return f"the cluster is back on what ran before; Git is not yet: `make rollback ENV={environment}`"


@contextmanager
def _forward(namespace: str) -> Iterator[str]:
    """Give an address here that leads to one of the pods. Raises PipelineError."""
    command = [manifests.kubectl(), f"--namespace={namespace}", "port-forward", DEPLOYMENT, ":http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (our own)
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not (found := FORWARDING.search(line)):
                raise PipelineError("no prediction was asked for: `kubectl port-forward` failed, see above")
            yield found[1]
        finally:
            process.terminate()


def _kubectl(*arguments: str, namespace: str = "", given: str = "") -> int:
    command = [manifests.kubectl(), *([f"--namespace={namespace}"] if namespace else []), *arguments]
    return subprocess.run(command, input=given, text=True, check=False).returncode  # noqa: S603 (our own)
