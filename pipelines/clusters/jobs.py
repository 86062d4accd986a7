"""What is scheduled: that it ends, is not run twice at once, is of the release, and how its Secrets get there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.clusters.manifests import Object, Pod, Rendered, title
from pipelines.delivery.image import OPERATIONS
from pipelines.delivery.settings import Settings

LABEL = {"app.kubernetes.io/name": "operations"}
"""Of pods whose containers run the image of jobs."""
SCHEDULE = re.compile(r"@[a-z]+( \w+)?|[\w*?/,-]+( [\w*?/,-]+){4}")
REQUIRED = {
    "startingDeadlineSeconds": "after so long a run that could not begin is left out",
    "successfulJobsHistoryLimit": "older Jobs that succeeded are deleted",
    "failedJobsHistoryLimit": "older Jobs that failed are deleted",
}
REQUIRED_OF_JOBS = {
    "activeDeadlineSeconds": "one that hangs would keep all later ones from running",
    "backoffLimit": "one that fails is tried so often",
}


def check(rendered: Rendered, settings: Settings) -> Iterator[str]:
    for found in rendered.kind("CronJob"):
        yield from (f"{title(found)}: {problem}" for problem in _scheduled(found["spec"]))
    for pod in rendered.pods():
        if LABEL.items() <= pod.metadata.get("labels", {}).items():
            yield from (f"{pod.where}: {problem}" for problem in _images(pod, rendered, settings))
        yield from (f"{pod.where}: {problem}" for problem in _secrets(pod, rendered))
    for found in rendered.kind("Secret"):
        yield f"{title(found)}: Git is no place for it: objects name it, and it comes from elsewhere"


def _scheduled(spec: Object) -> Iterator[str]:
    job = spec["jobTemplate"]["spec"]
    if not SCHEDULE.fullmatch(spec["schedule"]):
        yield f"schedule {spec['schedule']!r} is none: minute, hour, day of the month, month, day of the week"
    if spec.get("concurrencyPolicy") != "Forbid":
        yield "concurrencyPolicy: Forbid keeps two of it from running at once"
    for where, required in ((spec, REQUIRED), (job, REQUIRED_OF_JOBS)):
        yield from (f"{name} is missing: {why}" for name, why in required.items() if name not in where)
    if (policy := job["template"]["spec"].get("restartPolicy")) not in {"Never", "OnFailure"}:
        yield f"restartPolicy is {policy or 'Always'}: a Job takes Never or OnFailure"


def _images(pod: Pod, rendered: Rendered, settings: Settings) -> Iterator[str]:
    """Compare images of jobs with the release that Git says, and with the name that they are pushed under."""
    data = [found.get("data", {}) for found in rendered.kind("ConfigMap")]
    releases = {each["RELEASE"] for each in data if "RELEASE" in each}
    for container in pod.containers:
        name, _, tag = container["image"].partition("@")[0].rpartition(":")
        if tag not in releases:
            yield f"container {container['name']}: image {name}:{tag} is not of RELEASE={', '.join(releases)}"
        if not rendered.name.startswith("overlays/"):
            continue
        if not name.endswith(OPERATIONS) or (settings.image.name and name != settings.image.name + OPERATIONS):
            wanted = settings.image.name or "registry/name"
            yield f"container {container['name']}: image {name} is not {wanted}{OPERATIONS}, which `make image` pushes"


def _secrets(pod: Pod, rendered: Rendered) -> Iterator[str]:
    """Find each Secret among those that come from a store, where any does."""
    found = rendered.kind("ExternalSecret")
    known = {each["spec"].get("target", {}).get("name", each["metadata"]["name"]) for each in found}
    for name in sorted(_named(pod) - known) if known else ():
        yield f"no ExternalSecret makes the Secret {name}"


def _named(pod: Pod) -> set[str]:
    """Return the names of Secrets that a pod does not start without."""
    volumes = [each["secret"] for each in pod.spec.get("volumes", []) if "secret" in each]
    sources = [{"name": each["secretName"], "optional": each.get("optional")} for each in volumes]
    for container in pod.containers:
        sources += [each["secretRef"] for each in container.get("envFrom", []) if "secretRef" in each]
        single = [each.get("valueFrom", {}) for each in container.get("env", [])]
        sources += [each["secretKeyRef"] for each in single if "secretKeyRef" in each]
    return {each["name"] for each in sources if not each.get("optional")}
