"""Series that there can be, and those that an expression of Prometheus asks for."""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipelines.operations import history
from pipelines.operations.receiver import REQUESTS
from pipelines.recovery import metrics as recovery
from serving.metrics import METRICS
from tests.conftest import ROOT

FILES = sorted((ROOT / "monitoring" / "rules").glob("*.yml"))
RULES: list[dict[str, Any]] = [
    rule for file in FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]
]
OTHERS = {
    *("up", "haproxy_frontend_http_responses_total", "haproxy_server_http_responses_total", "haproxy_server_status"),
    *("haproxy_backend_active_servers", "haproxy_backend_current_queue", "haproxy_backend_retry_warnings_total"),
    *("node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"),
    *("node_filesystem_avail_bytes", "node_filesystem_size_bytes"),
    *("slipway_deployment_timestamp_seconds", "kube_cronjob_status_last_successful_time"),
    "alertmanager_notifications_failed_total",
}
"""Of Prometheus, Alertmanager, HAProxy, node exporter, ansible/library/deployment.py and kube-state-metrics."""
WORDS = {"and", "or", "unless", "by", "on", "bool", "group_left"}


def known() -> set[str]:
    """Return the name of every series that there can be."""
    own = set()
    for metric in METRICS.values():
        endings = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        own |= {metric.name + ending for ending in endings}
    texts = {value for module in (recovery, history) for name, value in vars(module).items() if name.isupper()}
    texts |= {f"{counter.name}_total" for counter in REQUESTS.collect()}
    return own | texts | OTHERS | {rule["record"] for rule in RULES if "record" in rule}


def asked(expression: str) -> set[str]:
    """Return the name of every series that an expression asks for."""
    text = re.sub(r'"[^"]*"|\'[^\']*\'', "", expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on|group_left) \([^)]*\)", "", text)
    return set(re.findall(r"(?<![\w$.])[a-zA-Z_][\w:]*\b(?!\s*\()", text)) - WORDS
