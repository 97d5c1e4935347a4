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


def test_a_quantity_that_was_a_number_is_read_and_named() -> None:
    body = pool()
    body["spec"]["links"] = {"probeBudget": 1048576, "local": {"bandwidth": 10**9, "roundTrip": "2ms"}}
    read = DevicePool.model_validate(in_this_version(body))
    assert (read.spec.links.probe_budget, read.spec.links.local.bandwidth) == (1048576, 10**9)
    assert [said.split(":")[0] for said in earlier_spellings(body)] == [
        "spec.links.probeBudget",
        "spec.links.local.bandwidth",
    ]
    assert len(problems(body)) == 2


def test_the_cache_of_a_service_could_be_a_number() -> None:
    body = {"kind": "InferenceService", "spec": {"resultCache": {"maxBytes": 1024}}}
    assert in_this_version(body)["spec"] == {"resultCache": {"maxBytes": "1024"}}


@pytest.mark.parametrize("kind", ["Placement", "ModelProfile"])
def test_the_one_output_of_a_model_is_read_as_a_list(kind: str) -> None:
    output = {"name": "logits", "datatype": "FP32", "shape": [-1, 10]}
    stored = {"kind": kind, "spec": {"model": {"digest": "sha256:0", "output": output}}}
    read = in_this_version(stored)
    assert read["spec"]["model"] == {"digest": "sha256:0", "outputs": [output]}
    assert in_this_version(read) is read
