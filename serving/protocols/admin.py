"""Changing what is served, as Triton's model repository extension has it: an index, and a call that loads a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from serving import tensors
from serving.errors import Refused, ServingError
from serving.protocols import Route
from serving.requests import Answer, Request, as_json

if TYPE_CHECKING:
    from serving.app import App


class Parameters(msgspec.Struct):
    release: str = ""


class Load(msgspec.Struct):
    """The release is a name in SLIPWAY_RELEASES; without one, SLIPWAY_MODEL is read again."""

    parameters: Parameters = msgspec.field(default_factory=Parameters)


async def load(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001 (as every handler)
    asked = tensors.decode(request.body, Load) if request.body.strip() else Load()
    try:
        name = await app.swap(asked.parameters.release)
    except ServingError as error:
        raise Refused(409, f"{error}; {app.deployment.stable.release.name} goes on serving") from None
    return as_json({"release": name}, name)


async def index(app: App, request: Request, version: str) -> Answer:  # noqa: ARG001
    state = {"name": app.settings.model_name, "state": "READY" if app.ready else "UNAVAILABLE", "reason": ""}
    return as_json([state | {"version": name} for name in app.deployment.versions()])


ROUTES = [
    Route("POST", "/v2/repository/index", "admin.index", index),
    Route("POST", "/v2/repository/models/{model}/load", "admin.load", load, "admin"),
]
