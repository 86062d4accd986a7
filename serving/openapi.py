"""The OpenAPI 3.1 description of every address, made from the types that requests are decoded with."""

from __future__ import annotations

from typing import Any

import msgspec

from serving import protocols
from serving.config import Settings
from serving.protocols import admin, images, open_inference, sagemaker, tensorflow_serving
from serving.release import Release
from serving.requests import JSON

Schema = dict[str, Any]
PICTURE = {"type": "string", "contentMediaType": "image/png", "contentEncoding": "binary"}
ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
REFUSALS = ("400", "401", "403", "404", "405", "408", "409", "413", "415", "429", "431", "500", "503", "504")
_BODIES: dict[str, tuple[Any, ...]] = {
    "v2.infer": open_inference.FORMS,
    "tensorflow.predict": tensorflow_serving.FORMS,
    "admin.load": (admin.Load,),
}
_ANSWERS: dict[str, Any] = {"v2.infer": open_inference.InferResponse, "images.predict": images.Predictions}


def describe(settings: Settings, release: Release) -> Schema:
    """Return the document for a server with these settings and this stable release."""
    types = [*(kind for kinds in _BODIES.values() for kind in kinds), *_ANSWERS.values()]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema = dict(zip(types, schemas, strict=True))
    bodies = {name: {"anyOf": [schema[kind] for kind in kinds]} for name, kinds in _BODIES.items()}
    paths: dict[str, Schema] = {}
    for route in protocols.routes():
        path = route.path.replace("{model}", settings.model_name)
        ok: Schema = {"description": "the answer"}
        media = "text/html" if route.name == "site.page" else JSON.decode()
        ok["content"] = {media: {"schema": schema[_ANSWERS[route.name]] if route.name in _ANSWERS else {}}}
        operation: Schema = {
            "operationId": f"{route.method}-{path}",
            "tags": [route.name.partition(".")[0]],
            "responses": {"200": ok} | {code: {"$ref": "#/components/responses/Refused"} for code in REFUSALS},
            "parameters": _parameters(path, route.name),
        }
        if route.name in _BODIES or route.name in {"images.predict", "sagemaker.invocations"}:
            operation["requestBody"] = {"required": True, "content": _content(route.name, bodies)}
        if route.scope and not settings.open:
            operation["security"] = [{"bearer": []}]
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.model_name, "version": release.name},
        "paths": paths,
        "components": {
            "schemas": components | {"Error": ERROR},
            "responses": {
                "Refused": {
                    "description": "why there is no answer",
                    "content": {JSON.decode(): {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _parameters(path: str, name: str) -> list[Schema]:
    found: list[Schema] = []
    if "{version}" in path:
        known = {"type": "string", "enum": ["stable"]} if "labels" in path else {"type": "string"}
        found.append({"name": "version", "in": "path", "required": True, "schema": known})
    if name == "images.predict":
        count = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
        found.append({"name": "top", "in": "query", "schema": count})
    return found


def _content(name: str, bodies: dict[str, Schema]) -> Schema:
    if name == "images.predict":
        form = {"type": "object", "properties": {"image": PICTURE}}
        kinds = {"image/png": PICTURE, "image/jpeg": PICTURE, "multipart/form-data": form}
        return {kind: {"schema": schema} for kind, schema in kinds.items()}
    if name == "sagemaker.invocations":
        content = {JSON.decode(): {"schema": bodies["tensorflow.predict"]}}
        return content | {kind: {"schema": PICTURE} for kind in sorted(sagemaker.PICTURES | {sagemaker.NPY})}
    return {JSON.decode(): {"schema": bodies[name]}}
