"""Every setting, from environment variables alone (twelve-factor, section III): one frozen object, checked at start.

`RELEASE` has no prefix because deployments share it; every other variable is the field's name in capitals after
`SLIPWAY_`. An empty value counts as not set, because that is how an EnvironmentFile leaves one out.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping
from typing import Annotated, get_args, get_type_hints

import msgspec
from msgspec import Meta

from serving.errors import ServingError

PREFIX = "SLIPWAY_"

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Days = Annotated[int, Meta(ge=1, le=3650)]
Amount = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0, le=86400)]
Wait = Annotated[float, Meta(ge=0, le=86400)]


class ConfigError(ServingError):
    """A variable is unknown, has an impossible value, or contradicts another."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes are in bytes, times in seconds. Counts and rates hold for each worker where the text says so."""

    model: Annotated[Text, Meta(description="folder or bundle (tar) of the release to serve")] = "artifacts"
    release: Annotated[str, Meta(description="refuse a model of another release than this")] = ""
    model_name: Annotated[
        str, Meta(description="name in addresses such as /v2/models/NAME", pattern=r"^[A-Za-z0-9._-]+$")
    ] = "classifier"
    releases: Annotated[str, Meta(description="folder of the releases that an admin call may load by name")] = ""
    public_key: Annotated[str, Meta(description="PEM file: refuse a release without its signature")] = ""
    canary: Annotated[str, Meta(description="folder or bundle of a second release")] = ""
    canary_percent: Annotated[float, Meta(description="share of requests that the canary takes", ge=0, le=100)] = 0
    canary_shadow: Annotated[bool, Meta(description="the canary's answers are compared and never returned")] = False

    host: Annotated[Text, Meta(description="address to listen on; beyond loopback, clients must authenticate")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, Meta(description="port of HTTP; 0 takes a free one, as for the others")] = 8080
    grpc: Annotated[bool, Meta(description="speak gRPC as well")] = True
    grpc_port: Annotated[Port, Meta(description="port of gRPC")] = 8081
    metrics: Annotated[bool, Meta(description="serve Prometheus metrics, without authentication")] = True
    metrics_port: Annotated[Port, Meta(description="port of metrics")] = 8082

    workers: Annotated[Count, Meta(description="processes that share the ports")] = 1
    threads: Annotated[
        Amount, Meta(description="inference threads of a worker; 0 infers in the event loop, best for small models")
    ] = 0
    max_batch: Annotated[Count, Meta(description="most images that waiting requests are merged into")] = 32
    batch_wait: Annotated[Wait, Meta(description="how long to wait for company; 0 merges only what already waits")] = 0

    max_body: Annotated[Count, Meta(description="largest request body, also after decompression")] = 20_000_000
    max_images: Annotated[Count, Meta(description="most images in a request")] = 1024
    max_pixels: Annotated[Count, Meta(description="largest picture that is decoded, in pixels")] = 25_000_000
    max_header: Annotated[Count, Meta(description="largest request line and headers together")] = 32_768
    queue: Annotated[Count, Meta(description="requests that may wait in a worker; then 503")] = 512
    connections: Annotated[Count, Meta(description="connections of a worker; then 503")] = 4096
    deadline: Annotated[Seconds, Meta(description="longest a request may take once it is read; then 504")] = 10
    read_timeout: Annotated[Seconds, Meta(description="longest a client may take to send a request")] = 10
    keep_alive: Annotated[Seconds, Meta(description="how long an idle connection stays open")] = 75
    rate_limit: Annotated[Wait, Meta(description="requests a second of one client over all workers; 0 is no limit")] = 0
    drain: Annotated[Wait, Meta(description="from not ready until the end of listening, at shutdown")] = 5
    shutdown: Annotated[Seconds, Meta(description="longest a shutdown may take, the drain included")] = 30

    auth: Annotated[bool, Meta(description="false serves everybody, beyond loopback too")] = True
    api_keys: Annotated[str, Meta(description="file of python -m serving.keys")] = ""
    jwt_keys: Annotated[str, Meta(description="PEM public key or JWKS file that bearer tokens are verified with")] = ""
    jwt_audience: Annotated[str, Meta(description="audience that a token must name")] = "slipway"
    jwt_issuer: Annotated[str, Meta(description="issuer that a token must name")] = ""
    tls_certificate: Annotated[str, Meta(description="PEM file with the chain")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with the private key")] = ""
    tls_client_ca: Annotated[str, Meta(description="PEM file: only clients with a certificate of it")] = ""

    access_log: Annotated[bool, Meta(description="one JSON line a request on standard output")] = True
    traces: Annotated[
        str,
        Meta(
            description="OpenTelemetry collector, like http://collector:4318; takes spans (OTLP over HTTP)",
            pattern=r"^(https?://\S+)?$",
        ),
    ] = ""

    samples: Annotated[str, Meta(description="folder for pictures to be labelled, sealed for the holder of a key")] = ""
    samples_key: Annotated[str, Meta(description="their public X25519 key, as one line of base64")] = ""
    samples_percent: Annotated[float, Meta(description="share of requests whose picture is kept", ge=0, le=100)] = 1
    samples_days: Annotated[Days, Meta(description="days after which a picture is deleted")] = 30

    @property
    def open(self) -> bool:
        """Whether requests need no credentials."""
        return not (self.auth and (self.api_keys or self.jwt_keys))


def load(environment: Mapping[str, str]) -> Settings:
    """Return the settings of an environment. Raises ConfigError naming the variable and what would be right."""
    known = {variable(field.name): field.name for field in msgspec.structs.fields(Settings)}
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX) or name in known}
    for name in given:
        if name not in known:
            fields = difflib.get_close_matches(name.removeprefix(PREFIX).lower(), known.values(), 1)
            hint = f"did you mean {variable(fields[0])}?" if fields else f"the settings are {', '.join(known)}"
            raise ConfigError(f"{name} is no setting: {hint}")
    values = {known[name]: value for name, value in given.items() if value}
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        name = variable(path.strip("`$."))
        raise ConfigError(f"{name}={given[name]}: {what[:1].lower()}{what[1:]}") from None
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise ConfigError("SLIPWAY_TLS_CERTIFICATE and SLIPWAY_TLS_KEY come together")
    if settings.tls_client_ca and not settings.tls_certificate:
        raise ConfigError("SLIPWAY_TLS_CLIENT_CA needs SLIPWAY_TLS_CERTIFICATE and SLIPWAY_TLS_KEY")
    if (settings.canary_percent or settings.canary_shadow) and not settings.canary:
        raise ConfigError("SLIPWAY_CANARY_PERCENT and SLIPWAY_CANARY_SHADOW need SLIPWAY_CANARY")
    if bool(settings.samples) != bool(settings.samples_key):
        raise ConfigError("SLIPWAY_SAMPLES and SLIPWAY_SAMPLES_KEY come together")
    if settings.samples_key:
        _check_key(settings.samples_key)
    if settings.drain + 1 > settings.shutdown:
        raise ConfigError("SLIPWAY_SHUTDOWN must be a second longer than SLIPWAY_DRAIN")
    ports = [port for port in (settings.port, settings.grpc_port, settings.metrics_port) if port]
    if len(set(ports)) < len(ports):
        raise ConfigError("SLIPWAY_PORT, SLIPWAY_GRPC_PORT and SLIPWAY_METRICS_PORT must differ")
    if settings.auth and settings.open and not _loopback(settings.host):
        raise ConfigError(
            f"SLIPWAY_HOST={settings.host} is reached from other machines: set SLIPWAY_API_KEYS or SLIPWAY_JWT_KEYS,"
            " or SLIPWAY_AUTH=false to serve everybody"
        )


def _check_key(text: str) -> None:
    from model import ModelError, sample  # noqa: PLC0415 (10 MB that most servers do not need)

    try:
        sample.public_key(text)
    except ModelError as error:
        raise ConfigError(f"SLIPWAY_SAMPLES_KEY is {error}") from error


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def variable(field: str) -> str:
    return field.upper() if field == "release" else f"{PREFIX}{field.upper()}"


def describe() -> str:
    """Return a line or two for each setting: its variable, default and meaning."""
    hints = get_type_hints(Settings, include_extras=True)
    lines = []
    for field in msgspec.structs.fields(Settings):
        meanings = [meta.description for meta in get_args(hints[field.name])[1:] if meta.description]
        default = field.default if field.default != "" else "not set"
        default = str(default).lower() if isinstance(default, bool) else default
        lines.append(f"  {variable(field.name):<26} {meanings[0]} [{default}]")
    return "\n".join(lines)
