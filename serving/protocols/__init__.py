"""The protocols, one module each, and the addresses that lead to them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from serving.errors import Refused
from serving.requests import Answer, Request

if TYPE_CHECKING:
    from serving.app import App

Handler = Callable[["App", Request, str], Awaitable[Answer]]
"""Answers a request to a version, which is empty when the address names none."""


class Route(NamedTuple):
    """An address: `{model}` stands for the model's name, `{version}` for a release."""

    method: str
    path: str
    name: str
    handler: Handler
    scope: str = "predict"
    """What a client needs to be allowed; empty for nothing."""


class Routes:
    """Finds a route: by its exact path where it has no version, and else by pattern."""

    def __init__(self, model_name: str) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        found: dict[str, dict[str, Route]] = {}
        for route in routes():
            found.setdefault(route.path.replace("{model}", model_name), {})[route.method] = route
        for path, methods in found.items():
            if "{version}" in path:
                pattern = re.escape(path).replace(r"\{version\}", "(?P<version>[^/:]+)")
                self._patterns.append((re.compile(pattern), methods))
            else:
                self._exact[path] = methods
        self._model_name = model_name

    def find(self, method: str, path: str) -> tuple[Route, str]:
        """Return the route and the version in the path. Raises Refused: 404, or 405 for another method."""
        version = ""
        methods = self._exact.get(path)
        if methods is None:
            for pattern, candidates in self._patterns:
                if match := pattern.fullmatch(path):
                    methods, version = candidates, match["version"]
                    break
            else:
                raise Refused(
                    404, f"nothing is here: the model is {self._model_name!r}, and /openapi.json lists addresses"
                )
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise Refused(405, f"{method} is not for this address: {allowed}", ((b"allow", allowed.encode()),))
        return route, version


def routes() -> list[Route]:
    """Return every address there is."""
    from serving.protocols import admin, images, open_inference, sagemaker, site, tensorflow_serving  # noqa: PLC0415

    modules = (open_inference, tensorflow_serving, sagemaker, images, admin, site)
    return [route for module in modules for route in module.ROUTES]
