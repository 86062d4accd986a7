"""Every metric of the server, declared once.

A worker adds up in plain memory (`tally`), which costs a request less than a microsecond, and hands the difference to
its supervisor twice a second; the supervisor keeps the totals (`totals`), so they outlive a worker, and serves them in
Prometheus' format. A killed worker takes half a second of counts with it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Metric(NamedTuple):
    """Names and units as Prometheus' conventions have them.

    Gauges are sums over workers; a constant is a gauge that says the same in each.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Metric("slipway_requests_total", "counter", "Requests answered", ("endpoint", "code", "release"))
DURATION = Metric(
    "slipway_request_duration_seconds", "histogram", "From headers to answer", ("endpoint", "release"), _SECONDS
)
QUEUE_TIME = Metric("slipway_queue_duration_seconds", "histogram", "From decoded to inferred", ("release",), _SECONDS)
BATCH_SIZE = Metric(
    "slipway_batch_size", "histogram", "Images in one inference", ("release",), (1, 2, 4, 8, 16, 32, 64, 128, 256)
)
IN_FLIGHT = Metric("slipway_requests_in_flight", "gauge", "Requests accepted and not yet answered")
CONNECTIONS = Metric("slipway_connections", "gauge", "Open HTTP connections")
PREDICTIONS = Metric("slipway_predictions_total", "counter", "Images by answer", ("release", "label"))
CONFIDENCE = Metric(
    "slipway_prediction_confidence",
    "histogram",
    "Probability of the answer",
    ("release",),
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
)
OBSERVED = Metric(
    "slipway_observed_total", "counter", "Sampled images and answers by bin", ("release", "feature", "bin")
)
REFERENCE = Metric(
    "slipway_reference_examples", "constant", "Held-out examples by the same bins", ("release", "feature", "bin")
)
SHADOW = Metric("slipway_shadow_images_total", "counter", "Images that a shadow answered too", ("release", "agreement"))
MODEL_INFO = Metric(
    "slipway_model_info",
    "gauge",
    "Workers that serve a release",
    ("role", "release", "commit", "model_sha256", "data_sha256"),
)
MODEL_TIME = Metric(
    "slipway_model_timestamp_seconds", "constant", "When the commit of a release was made", ("release",)
)
DATA_TIME = Metric("slipway_data_timestamp_seconds", "constant", "When its data was last changed", ("release",))
STARTED = Metric("slipway_start_timestamp_seconds", "constant", "When the server was started")
CERTIFICATE = Metric(
    "slipway_certificate_expiry_timestamp_seconds", "constant", "When TLS's certificate ends", ("file",)
)
LOADS = Metric("slipway_loads_total", "counter", "Releases loaded by workers", ("release", "outcome"))
SWAPS = Metric("slipway_swaps_total", "counter", "Swaps to other releases", ("outcome",))
WORKERS = Metric("slipway_workers", "gauge", "Workers that are ready")
WORKER_EXITS = Metric("slipway_worker_exits_total", "counter", "Workers that ended without being asked to")
MEMORY = Metric("slipway_worker_resident_memory_bytes", "gauge", "Resident memory of all workers")

METRICS = {metric.name: metric for metric in list(globals().values()) if isinstance(metric, Metric)}


class Sample(msgspec.Struct, array_like=True):
    """Of one metric and its labels: one number, or a histogram's counts by bucket (the last without bound) and sum."""

    metric: str
    labels: tuple[str, ...]
    values: list[float]
