"""Push what an environment is to run into the cluster that kubectl points at; a release that fails there is undone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.examples import NAME as EXAMPLES
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
REVISION = r"jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}"
OURS = ("--server-side", "--field-manager=slipway", "--force-conflicts", "--filename=-")  # Git decides what is in Git
FORWARDING = re.compile(r"Forwarding from (127\.0\.0\.1:\d+) ")
KEY = "SERVING_KEY"


def deploy(environment: str, rendered: Rendered, chosen: Settings) -> None:
    """Show the difference, apply it, wait, and ask for predictions with known answers. Raises PipelineError."""
    release = environments.current(environment)
    if not release:
        raise PipelineError(f"{environment} has no release yet: `make promote ENV={environment} TAG=v1.2.3`")
    if rendered.kind("Canary", "InferenceService") or not (found := rendered.kind("Deployment")):
        raise PipelineError(
            f"{environment} is rolled out by an operator of the cluster (canary, kserve): let it follow Git"
        )
    (container, *_) = found[0]["spec"]["template"]["spec"]["containers"]
    if not os.environ.get(KEY) and rendered.settings(container).get("SLIPWAY_AUTH") != "false":
        raise PipelineError(f"{KEY} is not set: a client's key, by which the first predictions are asked for")
    objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": rendered.kind(*CHANGED)})
    namespace = found[0]["metadata"]["namespace"]
    with tempfile.TemporaryDirectory() as folder:
        examples = _examples(release, chosen, Path(folder))
        differs = _kubectl("diff", *OURS, given=objects)
        if differs not in {0, 1}:
            raise PipelineError(
                f"{environment}: nothing was changed, see above: is the cluster of `kubectl config view` right?"
            )
        before = _revision(namespace)
        if differs and _kubectl("apply", *OURS, given=objects):
            raise PipelineError(f"{environment}: not applied, see above")
        if problem := _try(namespace, release, examples):
            undone = _undo(namespace, environment, before) if differs else "nothing was changed"
            raise PipelineError(f"{environment}: {release} is refused: {problem}\n{undone}")
    print(f"{environment}: {release} serves{'' if differs else ', as it did before'}")


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


def _revision(namespace: str) -> str:
    """Return the number of what the Deployment runs, empty when there is none."""
    command = [manifests.kubectl(), f"--namespace={namespace}", "get", DEPLOYMENT, f"--output={REVISION}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 (our own)


def _try(namespace: str, release: str, examples: Path) -> str:
    """Return why the release does not serve, or nothing."""
    if _kubectl("rollout", "status", DEPLOYMENT, namespace=namespace):  # as long as progressDeadlineSeconds allows
        return "its pods did not become ready, see above"
    with _forward(namespace) as address:
        if not address:
            return "no prediction could be asked for: `kubectl port-forward` failed, see above"
        command = [sys.executable, "-m", "serving.client", f"--url=http://{address}"]
        result = subprocess.run(  # noqa: S603 (our own)
            [*command, f"--examples={examples}", f"--release={release}"], capture_output=True, text=True, check=False
        )
    return result.stderr.strip().removeprefix("error: ") if result.returncode else ""


def _undo(namespace: str, environment: str, revision: str) -> str:
    if not revision:
        return "nothing has run there before to go back to"
    if _kubectl("rollout", "undo", DEPLOYMENT, f"--to-revision={revision}", namespace=namespace):
        return f"and it was not undone, see above: `kubectl rollout undo {DEPLOYMENT}`"
    if _kubectl("rollout", "status", DEPLOYMENT, namespace=namespace):
        return "and what ran before does not come back either, see above"
    return f"the cluster is back on what ran before; Git is not yet: `make rollback ENV={environment}`"


@contextmanager
def _forward(namespace: str) -> Iterator[str]:
    """Give an address here that leads to one of the pods, empty when there is no way."""
    command = [manifests.kubectl(), f"--namespace={namespace}", "port-forward", DEPLOYMENT, ":http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (our own)
        try:
            found = FORWARDING.search(process.stdout.readline() if process.stdout else "")
            yield found[1] if found else ""
        finally:
            process.terminate()


def _kubectl(*arguments: str, namespace: str = "", given: str = "") -> int:
    command = [manifests.kubectl(), *([f"--namespace={namespace}"] if namespace else []), *arguments]
    return subprocess.run(command, input=given, text=True, check=False).returncode  # noqa: S603 (our own)
