"""Whether objects are what the API servers of each supported Kubernetes take: no unknown field, no wrong type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

import kubernetes_validate
from kubernetes_validate import utils

from pipelines.clusters.manifests import Rendered, title

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
"""Kubernetes releases that manifests are for: those with support upstream or by the large clouds."""
utils.schema_contents = cache(utils.schema_contents)  # or it reads the same megabytes for each object
CUSTOM = {
    "Canary": "flagger.app/v1beta1",
    "ExternalSecret": "external-secrets.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "InferenceService": "serving.kserve.io/v1beta1",
    "MetricTemplate": "flagger.app/v1beta1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
}
"""Kinds of operators that this project uses. Others' are let through: their schemas are in the clusters alone."""


def check(rendered: Rendered) -> Iterator[str]:
    for found in rendered.objects:
        group = found["apiVersion"].rpartition("/")[0]
        if found["kind"] in CUSTOM:
            if found["apiVersion"] != CUSTOM[found["kind"]]:
                yield f"{title(found)}: apiVersion is {found['apiVersion']}, not {CUSTOM[found['kind']]}"
        elif "." not in group or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io"):
            yield from _validated(json.dumps(found))


@cache  # overlays and components have most of their objects in common
def _validated(text: str) -> list[str]:
    found = json.loads(text)
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            return [f"{title(found)}: Kubernetes {version} has no {found['kind']} of {found['apiVersion']}"]
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path) or "at the top"
            return [f"{title(found)}: {path}: {error.message[:300]}"]
    return []
