"""Whether objects find each other: selectors, ports, names, and what the server itself says of its settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pipelines.clusters.manifests import Object, Pod, Rendered, title
from pipelines.clusters.pod_security import PROBES
from pipelines.delivery.settings import Settings

SERVERS = {"model-server", "kserve-container"}
"""Names of containers that run our server, one of them given by KServe."""
SECRET = "secret"  # noqa: S105 (a stand-in)


def check(rendered: Rendered, settings: Settings) -> Iterator[str]:
    pods = list(rendered.pods())
    labels = [pod.metadata.get("labels", {}) for pod in pods]
    for found in rendered.objects:
        for problem in (*_selects(found, labels, rendered), *_refers(found, rendered)):
            yield f"{title(found)}: {problem}"
    servers = [(pod, container) for pod in pods for container in pod.containers if container["name"] in SERVERS]
    for pod in pods:
        yield from (f"{pod.where}: {problem}" for problem in _mounts(pod, rendered))
    for pod, container in servers:
        for problem in (*_image(container, rendered, settings), *_server(container, pod, rendered)):
            yield f"{pod.where}: {problem}"
    if not servers:
        yield f"no container has the name of the server: {' or '.join(sorted(SERVERS))}"
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if not any(found["spec"] == everything for found in rendered.kind("NetworkPolicy")):
        yield "no NetworkPolicy denies by default what others do not allow"


def _selects(found: Object, labels: list[Object], rendered: Rendered) -> Iterator[str]:
    """Find pods by each selector of them."""
    spec = found.get("spec") or {}
    if found["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}:
        own = spec["template"].get("metadata", {}).get("labels", {})
        if not _matches(spec["selector"].get("matchLabels", {}), own):
            yield f"its selector {spec['selector'].get('matchLabels')} is not among its pods' labels {own}"
    selector = {
        "Service": spec.get("selector"),
        "PodDisruptionBudget": (spec.get("selector") or {}).get("matchLabels"),
        "NetworkPolicy": (spec.get("podSelector") or {}).get("matchLabels"),
    }.get(found["kind"])
    if selector and not any(_matches(selector, own) for own in labels):
        yield f"no pod has the labels {selector}"
    if found["kind"] == "ServiceMonitor":
        wanted, ports = spec["selector"]["matchLabels"], {endpoint["port"] for endpoint in spec["endpoints"]}
        services = [each for each in rendered.kind("Service") if _matches(wanted, each["metadata"].get("labels", {}))]
        if not any(ports <= {port.get("name") for port in each["spec"]["ports"]} for each in services):
            yield f"no Service has the labels {wanted} and ports {sorted(ports)}"


def _refers(found: Object, rendered: Rendered) -> Iterator[str]:
    """Find what it names."""
    spec = found.get("spec") or {}
    for field in ("scaleTargetRef", "targetRef", "autoscalerRef"):
        if (target := spec.get(field)) and not rendered.named(target["kind"], target["name"]):
            yield f"{field} names {target['kind']} {target['name']}, which is not there"
    role = found.get("roleRef", {})
    if role.get("kind") == "Role" and not rendered.named("Role", role["name"]):  # a ClusterRole is the platform's
        yield f"roleRef names Role {role['name']}, which is not there"
    if found["kind"] == "Service":
        ports = {each for pod in rendered.pods() for container in pod.containers for each in _ports(container)}
        for port in spec["ports"]:
            if (target := port.get("targetPort", port["port"])) not in ports:
                yield f"targetPort {target} is no port of a container"
    if found["kind"] == "HTTPRoute":
        for backend in [each for rule in spec["rules"] for each in rule.get("backendRefs", [])]:
            service = rendered.named("Service", backend["name"])
            if not service or backend["port"] not in {port["port"] for port in service["spec"]["ports"]}:
                yield f"backendRef {backend['name']}:{backend['port']} is no port of a Service"


def _mounts(pod: Pod, rendered: Rendered) -> Iterator[str]:
    """Find its account, its settings and each mount's volume; Secrets come from elsewhere."""
    account = pod.spec.get("serviceAccountName", "default")
    if account != "default" and not rendered.named("ServiceAccount", account):
        yield f"ServiceAccount {account} is not there"
    volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
    maps = [volume["configMap"] for volume in pod.spec.get("volumes", []) if "configMap" in volume]
    for container in pod.containers:
        maps += [source["configMapRef"] for source in container.get("envFrom", []) if "configMapRef" in source]
        single = [each.get("valueFrom", {}) for each in container.get("env", [])]
        maps += [source["configMapKeyRef"] for source in single if "configMapKeyRef" in source]
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"volume {mount['name']} is not there"
    for name in {each["name"] for each in maps if not each.get("optional")}:
        if not rendered.named("ConfigMap", name):
            yield f"ConfigMap {name} is not there"


def _image(container: Object, rendered: Rendered, settings: Settings) -> Iterator[str]:
    """Compare an image with the release that Git says, and with the name that it is pushed under."""
    release, image = rendered.settings(container).get("RELEASE"), container["image"].partition("@")[0]
    if release is None:
        yield "its ConfigMap has no RELEASE: list environments/<name> under `components` of the overlay"
    elif not image.endswith(f":{release}"):
        yield f"image {image} is not of RELEASE={release}: list components/release under `components` of the overlay"
    if settings.image.name and rendered.name.startswith("overlays/") and image != f"{settings.image.name}:{release}":
        yield f"image {image} is not {settings.image.name}, the name in delivery.yaml"


def _server(container: Object, pod: Pod, rendered: Rendered) -> Iterator[str]:
    """Ask the server what it says of the container that it is to run in."""
    if pod.spec.get("enableServiceLinks") is not False:
        yield "enableServiceLinks: false keeps SLIPWAY_… of other services from being taken for settings"
    # What comes from a Secret is not known here, but that it comes.
    own = {each["name"]: each.get("value", SECRET) for each in container.get("env", [])}
    chosen = rendered.settings(container) | own
    mounts = [mount["mountPath"] for mount in container.get("volumeMounts", []) if not mount.get("readOnly")]
    if (folder := chosen.get("SLIPWAY_SAMPLES")) and not any(Path(folder).is_relative_to(each) for each in mounts):
        yield f"SLIPWAY_SAMPLES={folder} lies in no volume that can be written"
    said, problem = _contract(**chosen)
    if problem:
        yield f"the server refuses its settings: {problem}"
        return
    ports = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
    if ports != said["ports"]:
        yield f"its ports are {ports}, but the server listens on {said['ports']}"
    for name in PROBES:
        probe = container.get(name, {}).get("httpGet", {})
        if probe.get("path") not in said["probes"]:
            yield f"{name} asks {probe.get('path', 'nothing')}, but the server answers {', '.join(said['probes'])}"
        if probe.get("scheme", "HTTP") != said["scheme"]:
            yield f"{name} speaks {probe.get('scheme', 'HTTP')}, but the server {said['scheme']}"
        if probe.get("port") not in {"http", said["ports"]["http"]}:
            yield f"{name} asks port {probe.get('port')}, but addresses are on port http"
    if pod.spec.get("terminationGracePeriodSeconds", 30) <= said["shutdown"]:
        yield f"terminationGracePeriodSeconds must be longer than SLIPWAY_SHUTDOWN={said['shutdown']}"


@cache  # overlays and components have most of them in common
def _contract(**given: str) -> tuple[Object, str]:
    """Return what the server says that it does with these settings, or why it does not start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_") and name != "RELEASE"}
    environment = clean | {"SLIPWAY_HOST": "0.0.0.0"} | given  # noqa: S104 (as the image has it)
    command = [sys.executable, "-m", "serving.contract"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        return {}, result.stderr.strip().removeprefix("error: ")
    return json.loads(result.stdout), ""


def _ports(container: Object) -> Iterator[str | int]:
    for port in container.get("ports", []):
        yield from (port.get("name", ""), port["containerPort"])


def _matches(selector: Object, labels: Object) -> bool:
    return bool(selector) and selector.items() <= labels.items()
