"""Reads a Placement of the operator into seconds, bit/s and tensors."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.assignment import parse_placement
from edge_runtime.errors import BadPlacement
from edge_runtime.tensors import Tensor
from messages import mentions

TEXT = """
apiVersion: edge-intelligence.io/v1alpha1
kind: Placement
metadata: {name: digits-edge-a, namespace: default, generation: 3}
spec:
  service: digits
  node: edge-a
  mode: Auto
  model:
    digest: "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    inputs: [{name: image, datatype: FP32, shape: [-1, 1, 64, 64]}]
    outputs: [{name: logits, datatype: FP32, shape: [-1, 10]}]
  slo: {latency: 150ms, percentile: 95}
  link: {peer: cloud, probe: "http://model-store:8080/v1/probe", interval: 2s}
  routes:
  - name: exit5@pool1
    exit: exit5
    cut: pool1
    accuracy: 0.98
    minBandwidth: "3100000"
    predictedLatency: 87ms
    stages:
    - place: edge-a
      runtime: Edge
      slice:
        digest: "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        size: 1234
        inputs: [{name: image, datatype: FP32, shape: [-1, 1, 64, 64]}]
        outputs: [{name: pool1, datatype: FP32, shape: [-1, 4, 32, 32]}]
    - place: cloud
      runtime: Triton
      address: "http://triton.triton.svc.cluster.local:8000"
      model: default-digits-0123456789ab
      predictedCompute: 4.1ms
      slice:
        digest: "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
        size: 99
        inputs: [{name: pool1, datatype: FP32, shape: [-1, 4, 32, 32]}]
        outputs: [{name: logits, datatype: FP32, shape: [-1, 10]}]
  - name: exit1@local
    exit: exit1
    cut: local
    accuracy: 0.86
    minBandwidth: "0"
    predictedLatency: 40ms
    stages:
    - place: edge-a
      runtime: Edge
      slice:
        digest: "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
        size: 99
        inputs: [{name: image, datatype: FP32, shape: [-1, 1, 64, 64]}]
        outputs: [{name: exit1_logits, datatype: FP32, shape: [-1, 10]}]
"""


@pytest.fixture
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = copy.deepcopy(yaml.safe_load(TEXT))
    return loaded


def test_units_become_seconds_and_bits_a_second(document: dict[str, Any]) -> None:
    placement = parse_placement(document)
    assert (placement.name, placement.namespace, placement.generation) == ("digits-edge-a", "default", 3)
    spec = placement.spec
    assert (spec.slo.latency, spec.slo.percentile) == (0.15, 95)
    assert spec.link is not None
    assert spec.link.interval == 2.0
    first = spec.routes[0]
    assert (first.min_bandwidth, first.accuracy) == (3.1e6, 0.98)
    assert first.predicted_latency == pytest.approx(0.087)
    assert first.remote is not None
    assert first.remote.predicted_compute == pytest.approx(0.0041)


def test_stages_are_distinguished_by_their_address(document: dict[str, Any]) -> None:
    split, local = parse_placement(document).spec.routes
    assert split.local is not None
    assert split.local.slice.outputs == (Tensor("pool1", "FP32", (-1, 4, 32, 32)),)
    assert split.remote is not None
    assert split.remote.model == "default-digits-0123456789ab"
    assert local.remote is None


def test_a_route_may_be_remote_altogether(document: dict[str, Any]) -> None:
    route = document["spec"]["routes"][0]
    del route["stages"][0]
    document["spec"]["routes"] = [route]
    assert parse_placement(document).spec.routes[0].local is None


def _set(document: Any, path: list[str | int], value: object) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            ["spec", "slo", "latency"],
            "100",
            r"^spec\.slo\.latency: 100 .*\b100ms .*\b100s\b",
        ),
        (
            ["spec", "routes", 0, "minBandwidth"],
            "fast",
            r"^spec\.routes\[0\]\.minBandwidth: \"fast\" .*quantity",
        ),
        (["spec", "routes", 0, "stages"], [], r"spec\.routes\[0\]\.stages: "),
        (
            ["spec", "routes", 0, "stages", 1, "model"],
            None,
            r"stages\[1\].*Triton .*address .*model",
        ),
        (["spec", "routes", 0, "stages", 1, "address"], None, r"stages\[1\].*Triton .*address .*model"),
        (
            ["spec", "model", "outputs", 0, "datatype"],
            "FP8",
            r"spec\.model\.outputs\[0\]\.datatype: \"FP8\" is not one",
        ),
        (["spec", "routes", 0, "minBandwidth"], "-1", r"minBandwidth: \"-1\" .*quantity"),
        (["spec", "routes", 1, "minBandwidth"], "9G", "routes .*minBandwidth"),
        (
            ["spec", "routes", 0, "codecs"],
            ["int4"],
            r"spec\.routes\[0\]\.codecs\[0\]: \"int4\" .*fp32, fp16, int8",
        ),
        (
            ["spec", "routes", 0, "codecs"],
            ["int8", "fp16"],
            r"codecs .*\b1 hops",
        ),
        (["spec", "routes", 1, "codecs"], ["fp16"], r"codecs .*\b0 hops"),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_the_fix(
    document: dict[str, Any], path: list[str | int], value: object, sentence: str
) -> None:
    _set(document, path, value)
    with pytest.raises(BadPlacement, match=sentence):
        parse_placement(document)


def test_a_placement_of_an_earlier_version_has_the_one_output_of_its_model(document: dict[str, Any]) -> None:
    """It is on the disks of nodes, and in API servers until the operator writes it again."""
    wanted = parse_placement(document)
    (document["spec"]["model"]["output"],) = document["spec"]["model"].pop("outputs")
    assert parse_placement(document) == wanted


def test_a_placement_without_outputs_is_refused(document: dict[str, Any]) -> None:
    del document["spec"]["model"]["outputs"]
    with pytest.raises(BadPlacement, match=r"spec\.model.*outputs"):
        parse_placement(document)


def test_without_codecs_and_tensors_a_placement_says_what_it_always_said(document: dict[str, Any]) -> None:
    split, local = parse_placement(document).spec.routes
    assert (split.codec, split.sent, split.crosses) == ("fp32", ("pool1",), True)
    assert local.crosses is False


def test_stages_behind_the_first_hop_are_the_next_ones_to_ask(document: dict[str, Any]) -> None:
    route = document["spec"]["routes"][0]
    intermediate = copy.deepcopy(route["stages"][1]) | {
        "place": "edge-b",
        "runtime": "Edge",
        "address": "http://digits-edge-b:8080",
        "model": "digits-intermediate-0123456789",
    }
    route["stages"].insert(1, intermediate)
    route |= {"cut": "left+right", "cutTensors": ["left", "right"], "codecs": ["int8", "fp16"]}
    document["spec"]["routes"].insert(1, {**route, "name": "exit5@near", "stages": route["stages"][:2],
                                          "codecs": ["int8"]})  # fmt: skip
    three, near, _ = parse_placement(document).spec.routes
    assert three.remote is not None
    assert (three.remote.place, three.codec, three.sent) == ("edge-b", "int8", ("left", "right"))
    assert (three.crosses, near.crosses) == (True, False)


def _intermediate_slice(
    document: dict[str, Any], model: str = "digits-intermediate-0123456789"
) -> dict[str, Any]:
    here = copy.deepcopy(document["spec"]["routes"][0]["stages"][0])
    return {"model": model, "stages": [here, document["spec"]["routes"][0]["stages"][1]]}


def test_a_forwarding_stage_begins_here_and_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    document["spec"]["intermediateSlices"] = [_intermediate_slice(document)]
    (intermediate,) = parse_placement(document).spec.intermediate_slices
    assert [stage.place for stage in intermediate.stages] == ["edge-a", "cloud"]
    document["spec"]["intermediateSlices"] = [_intermediate_slice(document, "digits")]
    with pytest.raises(BadPlacement, match=mentions("names", "digits")):
        parse_placement(document)
    elsewhere = _intermediate_slice(document)
    elsewhere["stages"] = elsewhere["stages"][1:]
    document["spec"]["intermediateSlices"] = [elsewhere]
    with pytest.raises(BadPlacement, match=mentions("[0]:", "stages", "node")):
        parse_placement(document)


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        (None, ("Placement", "null", "mapping")),
        ([], ("Placement", "[]", "mapping")),
        ({}, ("Placement", "metadata: null", "mapping")),
        ({"metadata": "x"}, ("Placement", 'metadata: "x"', "mapping")),
        ({"metadata": {"name": "x"}}, ("Placement", "spec: null", "mapping")),
        ({"metadata": {}, "spec": {}}, ("metadata.name: null",)),
    ],
)
def test_what_is_not_a_placement_is_refused(document: object, parts: tuple[str, ...]) -> None:
    with pytest.raises(BadPlacement, match=mentions(*parts)):
        parse_placement(document)


def test_a_field_of_a_later_version_is_said_once_and_tolerated(
    document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    document["spec"]["routes"][0]["stages"][0]["color"] = "blue"
    with caplog.at_level(logging.WARNING):
        parse_placement(document)
        parse_placement(document)
    assert [r.args for r in caplog.records] == [("spec.routes.stages.color",)]


def _places(part: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in inner:
        yield (*at, key)
        yield from _places(value, (*at, key))


_WRITTEN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_written_wherever_is_read_or_told_in_words_of_yaml(
    document: dict[str, Any], data: st.DataObject
) -> None:
    changed = copy.deepcopy(document)
    where = data.draw(st.sampled_from([list(place) for place in _places(document)]))
    _set(changed, where, data.draw(_WRITTEN))
    try:
        parse_placement(changed)
        said = ""
    except BadPlacement as error:
        said = str(error)
    told = re.sub(r'"(?:[^"\\]|\\.)*"', "", said)
    assert not re.search(r"\b(None|True|False|dict|tuple|instance|Input|pydantic|valid)\b", told), said
    assert "\n" not in said
    assert len(said) < 500


@pytest.mark.parametrize(
    "part", ["link", "earlyExit", "deadline", "autonomy", "intermediateSlices", "inputFilter"]
)
def test_a_field_that_is_null_is_one_that_is_not_there(document: dict[str, Any], part: str) -> None:
    document["spec"].pop(part, None)
    without = parse_placement(document)
    document["spec"][part] = None
    assert parse_placement(document) == without


def test_a_duration_without_a_unit_is_not_a_number_of_seconds(document: dict[str, Any]) -> None:
    document["spec"]["slo"]["latency"] = 0.1
    with pytest.raises(BadPlacement, match=r"^spec\.slo\.latency: 0\.1 has no unit"):
        parse_placement(document)


def test_a_route_that_sends_the_input_is_refused_where_inputs_stay_local(document: dict[str, Any]) -> None:
    document["spec"]["privacy"] = "InputStaysLocal"
    assert parse_placement(document).spec.privacy == "InputStaysLocal"
    split = document["spec"]["routes"][0]
    split["cut"], split["cutTensors"] = "image+pool1", ["image", "pool1"]
    with pytest.raises(BadPlacement, match=r"exit5@pool1 sends the input image.*InputStaysLocal"):
        parse_placement(document)


def test_a_route_that_leaves_the_node_is_refused_where_data_are_local(document: dict[str, Any]) -> None:
    document["spec"]["privacy"] = "Local"
    with pytest.raises(BadPlacement, match=r"exit5@pool1 leaves the node.*Local"):
        parse_placement(document)
    del document["spec"]["routes"][0]
    assert len(parse_placement(document).spec.routes) == 1
