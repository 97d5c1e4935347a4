"""Objects that earlier versions stored are read in this version's spelling; new manifests need it."""

from typing import Any

import pytest

from edge_api import DevicePool
from edge_api.earlier import earlier_spellings, in_this_version
from edge_api.validation_messages import problems
from messages import mentions


def pool(**group: Any) -> dict[str, Any]:
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "DevicePool",
        "metadata": {"name": "factory"},
        "spec": {"nodes": [{"deviceClass": "camera", "nodeSelector": {"a": "b"}, **group}]},
    }


@pytest.mark.parametrize(("stored", "tier"), [("device", "Device"), ("edge", "Edge"), ("Edge", "Edge")])
def test_a_tier_is_read_in_either_spelling(stored: str, tier: str) -> None:
    read = DevicePool.model_validate(in_this_version(pool(tier=stored)))
    assert read.spec.nodes[0].tier == tier


def test_a_value_in_an_earlier_spelling_is_named_with_what_to_write() -> None:
    (said,) = earlier_spellings(pool(tier="device"))
    assert mentions("spec.nodes[0].tier", '"device"', "Device").search(said)
    assert earlier_spellings(pool(tier="Device")) == []


def test_a_new_manifest_in_an_earlier_spelling_is_refused() -> None:
    (said,) = problems(pool(tier="device"))
    assert mentions("spec.nodes[0].tier", '"device"', '"Device"', '"Edge"').search(said)


@pytest.mark.parametrize("spec", [None, [], {"nodes": "all"}, {"nodes": [None, {"tier": 1}]}])
def test_what_cannot_be_read_is_left_to_the_schema(spec: Any) -> None:
    body = {**pool(), "spec": spec}
    assert in_this_version(body) is body
