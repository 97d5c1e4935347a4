"""What the API server rejects is rejected with the same messages without a server."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_api.validation_messages import problems
from messages import mentions

TABLE = yaml.safe_load(Path(__file__).with_name("bad_manifests.yaml").read_text(encoding="utf-8"))


def merged(good: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396)."""
    out = copy.deepcopy(good)
    for key, value in change.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and value and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_a_mistake_gets_one_sentence_with_field_value_and_fix(case: dict[str, Any]) -> None:
    found = problems(merged(TABLE["good"][case["kind"]], case["change"]))
    assert len(found) == 1, found
    for word in case["words"]:
        assert word in found[0]


@pytest.mark.parametrize("kind", ["InferenceService", "DevicePool", "Tenant"])
def test_the_manifests_that_the_mistakes_are_made_in_are_good(kind: str) -> None:
    assert problems(TABLE["good"][kind]) == []


def test_every_mistake_in_a_manifest_is_named_at_once() -> None:
    body = merged(
        TABLE["good"]["InferenceService"], {"spec": {"slo": {"latency": 100, "objective": 2}, "mode": "X"}}
    )
    assert [found.split(":")[0] for found in problems(body)] == [
        "spec.slo.latency",
        "spec.slo.objective",
        "spec.mode",
    ]


def test_a_misspelt_field_is_answered_with_the_name_that_was_meant() -> None:
    body = merged(TABLE["good"]["InferenceService"], {"spec": {"slo": {"minAcuracy": 0.9}}})
    (problem,) = problems(body)
    assert mentions('"spec.slo.minAcuracy"', "minAccuracy").search(problem)


def test_an_unknown_kind_is_answered_with_the_kinds_there_are() -> None:
    (problem,) = problems({"kind": "Inference"})
    kinds = ("InferenceService", "DevicePool", "ModelProfile", "Placement", "Tenant")
    assert mentions('kind: "Inference"', *kinds).search(problem)
