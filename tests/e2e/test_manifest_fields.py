"""Fields of the manifest that change the plan, shown by requests: privacy, throughput, energy and cost."""

import json
from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
import pytest

from edge_api.quantities import parse_duration
from trials import Trial

NODE = "edge-a"


@pytest.mark.parametrize("privacy", ["InputStaysLocal", "Local"])
def test_no_route_and_no_request_sends_what_privacy_keeps_at_the_node(trial: Trial, privacy: str) -> None:
    with trial.with_fields(privacy=privacy):
        for placement in trial.placements().values():
            cuts = {name for route in placement["spec"]["routes"] for name in route.get("cutTensors", [])}
            assert "image" not in cuts
            assert privacy != "Local" or not cuts
        for index in range(3):
            answer = trial.ask(NODE, index=index)
            assert answer.parameters["cut"] != "image"
            assert privacy != "Local" or answer.parameters["cut"] == "local"
            expected = trial.whole(answer.parameters["exit"], index)
            np.testing.assert_allclose(answer.values, expected, rtol=1e-3, atol=1e-4)


def test_a_throughput_between_those_of_two_exits_moves_the_node_to_the_cheaper_one(trial: Trial) -> None:
    """Whatever the machine: the rate is between what the node sustains by its first exit and by its last."""
    first, *_, final = trial.exits()
    seconds = exit_seconds(trial)
    assert seconds[first] < seconds[final]
    rate = round(1 / sqrt(seconds[first] * seconds[final]), 3)
    slo = {"latency": "20s", "throughput": None}
    try:
        trial.patch({"mode": "RightSizingOnly", "slo": slo})
        trial.wait("the full model", lambda: trial.ask(NODE).parameters["exit"] == final)
        trial.patch({"slo": {**slo, "throughput": rate}})
        trial.wait("a cheaper exit", lambda: trial.ask(NODE).parameters["exit"] != final)
        routes = trial.placements()[NODE]["spec"]["routes"]
        assert {route["cut"] for route in routes} == {"local"}
    finally:
        trial.patch({"mode": None, "slo": {"throughput": None}})


@pytest.mark.parametrize(
    ("optimize", "group", "pool", "cut"),
    [
        pytest.param("Energy", {"watts": 10.0}, {}, "image", id="computing takes energy, sending takes none"),
        pytest.param("Energy", {"watts": 1e-6, "radio": "LTE"}, {}, "local", id="sending takes energy"),
        pytest.param("Cost", {}, {"prices": {"tritonSecond": 1.0}}, "local", id="Triton's time has a price"),
    ],
)
def test_the_node_takes_the_route_of_the_least_energy_or_cost(
    trial: Trial, optimize: str, group: Mapping[str, Any], pool: Mapping[str, Any], cut: str
) -> None:
    """The routes are compared by declarations that differ by orders of magnitude, on any machine."""
    before = trial.get("devicepool", "factory")["spec"]
    declared = [node | group for node in before["nodes"]]
    try:
        patch_pool(trial, {"nodes": declared, **pool})
        trial.patch({"optimize": optimize})
        trial.wait(f"the cut {cut}", lambda: trial.ask(NODE).parameters["cut"] == cut)
    finally:
        trial.patch({"optimize": None})
        patch_pool(trial, {"nodes": before["nodes"], **dict.fromkeys(pool)})


def patch_pool(trial: Trial, spec: Mapping[str, Any]) -> None:
    """Merges fields into the pool's spec."""
    change = json.dumps({"spec": spec})
    trial.cluster.kubectl("patch", "devicepool", "factory", "--type", "merge", "-p", change)


def exit_seconds(trial: Trial) -> dict[str, float]:
    """What a request takes of the node by each exit: the measured mean, and its time outside of inference."""
    node = json.loads(trial.cluster.kubectl("get", "node", NODE, "-o", "json"))
    name = node["metadata"]["labels"]["edge-intelligence.io/device-class"]
    classes = trial.get("modelprofile", "digits")["spec"]["deviceClasses"]
    measured = next(found for found in classes if found["name"] == name)
    requests = measured["requests"]
    outside = parse_duration(requests["receive"]) / requests["processors"]
    return {found["exit"]: parse_duration(found["mean"]) + outside for found in measured["exits"]}
