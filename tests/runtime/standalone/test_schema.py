"""Requests over HTTP inside and outside the schema never cause a server error."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

Served = Any

ERROR = {
    "description": "a sentence",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string", "minLength": 1}},
            }
        }
    },
}
TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string", "enum": ["a", "b"]},
        "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        "datatype": {"type": "string", "enum": ["FP32"]},
        "data": {"type": "array", "items": {"type": "number"}, "maxItems": 6},
        "parameters": {"type": "object", "maxProperties": 2},
    },
}
REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": TENSOR, "maxItems": 3},
        "outputs": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"enum": ["sum", "difference", "x"]}}},
            "maxItems": 2,
        },
        "parameters": {
            "type": "object",
            "properties": {"binary_data_output": {"type": "boolean"}, "timeout": {"type": "integer"}},
        },
    },
}
ANSWER: dict[str, Any] = {"description": "a response"}


def _path(method: str, body: Any = None) -> dict[str, Any]:
    codes = ("400", "404", "405", "413", "415", "429", "503")
    operation: dict[str, Any] = {"responses": {"200": ANSWER, **dict.fromkeys(codes, ERROR)}}
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return {method: operation}


DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Open Inference Protocol", "version": "2"},
    "paths": {
        "/v2": _path("get"),
        "/v2/health/live": _path("get"),
        "/v2/health/ready": _path("get"),
        "/v2/models": _path("get"),
        "/v2/models/m": _path("get"),
        "/v2/models/m/ready": _path("get"),
        "/v2/models/m/infer": _path("post", REQUEST),
        "/v2/models/m/versions/1/infer": _path("post", REQUEST),
        "/v2/repository/index": _path(
            "post", {"type": "object", "properties": {"ready": {"type": "boolean"}}}
        ),
    },
}


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_response_conforms_to_the_schema(sums: Served, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(DESCRIPTION)
    schema.config.update(base_url=f"http://127.0.0.1:{sums.http}")
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(found) == len(DESCRIPTION["paths"])
    answered: set[int] = set()
    for operation in found:
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # nothing in these can be invalid

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answered.add(case.call_and_validate(checks=checks).status_code)

        ask()
    # A mutated request can still be valid, such as an index without a body.
    assert answered >= ({400} if mode is GenerationMode.NEGATIVE else {200, 400})
