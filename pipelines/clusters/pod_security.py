"""Whether pods may run where nothing dangerous may: Pod Security Standards, "restricted", and what we ask beyond that.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.clusters.manifests import Object, Pod, Rendered

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
PINNED = re.compile(r"[^\s@]+(:v?\d[\w.+-]*|(:[\w.+-]+)?@sha256:[0-9a-f]{64})")


def check(rendered: Rendered) -> Iterator[str]:
    for pod in rendered.pods():
        for problem in _pod(pod):
            yield f"{pod.where}: {problem}"
        for container in pod.containers:
            for problem in (*_restricted(container, pod.spec), *_ours(container)):
                yield f"{pod.where}, container {container['name']}: {problem}"


def _pod(pod: Pod) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(field):
            yield f"{field} shares the node's own"
    yield from _context(pod.spec.get("securityContext") or {})
    for volume in pod.spec.get("volumes", []):
        if kinds := set(volume) - VOLUMES - {"name"}:
            yield f"volume {volume['name']} is a {', '.join(kinds)}: allowed are {', '.join(sorted(VOLUMES))}"
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken: false keeps it from asking the cluster's API"


def _context(context: Object) -> Iterator[str]:
    """Check what pods and containers have in common."""
    if context.get("sysctls"):
        yield "sysctls are the node's to set"
    if context.get("runAsUser") == 0:
        yield "runAsUser must not be 0"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield "appArmorProfile must not be Unconfined"
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield "seccompProfile must be RuntimeDefault or Localhost"
    options = context.get("seLinuxOptions") or {}
    if options.get("user") or options.get("role") or options.get("type", "") not in SELINUX:
        yield f"seLinuxOptions may have a type alone, of {', '.join(sorted(SELINUX - {''}))}"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "hostProcess may do anything to its node"


def _restricted(container: Object, pod: Object) -> Iterator[str]:
    own, shared = container.get("securityContext") or {}, pod.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    if own.get("privileged"):
        yield "privileged may do anything to its node"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation must be false"
    if added := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"capabilities {', '.join(sorted(added))} must not be added"
    if "ALL" not in (capabilities.get("drop") or []):
        yield "capabilities must be dropped: [ALL]"
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot must be true"
    yield from _context(own)
    seccomp = (own.get("seccompProfile") or shared.get("seccompProfile") or {}).get("type")
    if seccomp is None:
        yield "seccompProfile must be RuntimeDefault or Localhost"
    if own.get("procMount", "Default") != "Default":
        yield "procMount must be Default"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort takes a port of the node"
    asking = [container.get(name, {}) for name in PROBES] + list((container.get("lifecycle") or {}).values())
    if any(each.get(kind, {}).get("host") for each in asking for kind in ("httpGet", "tcpSocket")):
        yield "probes and hooks must ask the pod itself: leave host out"


def _ours(container: Object) -> Iterator[str]:
    image = container.get("image", "")
    if not PINNED.fullmatch(image):
        yield f"image {image} may change: name a version or a digest"
    if (container.get("securityContext") or {}).get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem must be true"
    for what in ("requests", "limits"):
        amounts = (container.get("resources") or {}).get(what) or {}
        for name in ("cpu", "memory"):
            if name not in amounts:
                yield f"resources.{what} has no {name}"
