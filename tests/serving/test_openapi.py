"""The description of all addresses is true: what it allows is answered, whatever is sent never ends in a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.serving.conftest import Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    return server.json("GET", "/openapi.json")


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(path, method) for path, methods in document["paths"].items() for method in methods]


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    """Version 3.1, every address once, and each with an id of its own."""
    schemathesis.openapi.from_dict(document).validate()
    assert document["openapi"] == "3.1.0"
    found = [document["paths"][path][method]["operationId"] for path, method in operations(document)]
    assert len(set(found)) == len(found) > 20
    for path in (
        "/v2/models/classifier/infer",
        "/v1/models/classifier:predict",
        "/invocations",
        "/ping",
        "/v1/predict",
    ):
        assert path in document["paths"]


def test_every_address_keeps_its_word(server: Server, document: dict[str, Any]) -> None:
    """Schemathesis sends what the document allows and what it does not: answers are those that it names."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=server.url)
    with requests.Session() as session:
        for path, method in operations(document):
            operation = schema[path][method]

            @given(case=operation.as_strategy())
            @settings(max_examples=15, suppress_health_check=list(HealthCheck), database=None)
            def check(case: schemathesis.Case) -> None:
                case.call_and_validate(session=session, checks=CHECKS)

            check()
    assert not server.events("request-failed")


NUMBERS = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=3)
NESTED = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=13), max_leaves=50)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["images", "x", 3]),
        "shape": st.lists(st.integers() | st.sampled_from([1, 12]), max_size=5) | st.just([1, 12, 12, 1]),
        "datatype": st.sampled_from(["UINT8", "FP32", "BYTES", "", None]),
        "data": st.lists(st.integers(-1, 256), max_size=150) | NESTED,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), NESTED) | NESTED,
    },
)
BODIES = st.one_of(
    st.fixed_dictionaries({"inputs": st.lists(TENSOR, max_size=2)}, optional={"outputs": NESTED, "parameters": NESTED}),
    st.fixed_dictionaries({}, optional={"instances": NESTED, "inputs": NESTED, "signature_name": NESTED}),
    NESTED,
)
ADDRESSES = (
    "/v2/models/classifier/infer",
    "/v1/models/classifier:predict",
    "/invocations",
    "/v1/predict",
    "/v2/repository/models/classifier/load",
)
KINDS = (
    "",
    "application/json",
    "application/jsonlines",
    "application/x-npy",
    "image/png",
    "multipart/form-data; boundary=x",
    "text/plain",
)


@given(
    st.sampled_from(ADDRESSES),
    st.sampled_from(KINDS),
    BODIES.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=500),
    st.none() | st.integers(-10, 2000),
)
@settings(max_examples=400)
def test_no_decoder_fails(server: Server, path: str, kind: str, body: bytes, length: int | None) -> None:
    """JSON of any form, NaN and huge numbers among it, and any bytes: every error is the client's."""
    headers = {"Content-Type": kind} | ({} if length is None else {"Inference-Header-Content-Length": str(length)})
    status, _, answer = server.ask("POST", path, body, headers)
    assert status < 500, (status, answer)
    if status != 200:
        assert json.loads(answer)["error"]
