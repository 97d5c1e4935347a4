"""Links between nodes: the declared values are the start, measured ones replace them outside a band."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_api import Placement
from edge_api.devicepools import Links
from edge_operator.pool.node_links import NodeLink, local_links, planned_links
from edge_planning.costs.profiles import ClassProfile
from edge_planning.problems import IntermediateNode

DECLARED = Links.model_validate({"local": {"bandwidth": "50M", "roundTrip": "1ms"}, "probeBudget": "4Mi"})
GATE = {"gate": "http://edge-runtime-gate.shop.svc.cluster.local:8080"}


def node(bandwidth: float, rtt: float = 0.001) -> IntermediateNode:
    return IntermediateNode("gate", ClassProfile("gateway", {}, {}), bandwidth, rtt)


def published(planned: str = "50M", declared: str = "50M", **report: str) -> Placement:
    """The Placement of an entry node. report: of the link in its status; nothing: without one."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
    slice_ = {"digest": f"sha256:{'ab' * 32}", "size": 1, "inputs": [tensor], "outputs": [tensor]}
    local: dict[str, Any] = {
        "name": "final@local",
        "exit": "final",
        "cut": "local",
        "accuracy": 0.9,
        "minBandwidth": "0",
        "predictedLatency": "5ms",
        "stages": [{"place": "cam", "runtime": "Edge", "slice": slice_}],
    }
    link = {"peer": "gate", "bandwidth": planned, "declared": declared, "roundTrip": "1ms"}
    status = {"status": {"localLinks": [{"peer": "gate", "state": "Up", **report}]}} if report else {}
    return Placement.model_validate(
        {
            "apiVersion": "edge-intelligence.io/v1alpha1",
            "kind": "Placement",
            "metadata": {"name": "digits.cam", "namespace": "shop"},
            "spec": {
                "service": "digits",
                "node": "cam",
                "model": {"digest": slice_["digest"], "inputs": [tensor], "outputs": [tensor]},
                "slo": {"latency": "100ms"},
                "localLinks": [link],
                "routes": [local],
            },
            **status,
        }
    )


def test_without_a_placement_the_pool_declares_the_links() -> None:
    assert planned_links(DECLARED, None) == {}


@pytest.mark.parametrize(
    ("report", "bandwidth", "rtt"),
    [
        ({}, 50e6, 0.001),
        ({"bandwidth": "45M"}, 50e6, 0.001),
        ({"bandwidth": "20M"}, 20e6, 0.001),
        ({"bandwidth": "80M"}, 80e6, 0.001),
        ({"bandwidth": "100M"}, 100e6, 0.001),
        ({"bandwidth": "20M", "state": "Down"}, 50e6, 0.001),
        ({"roundTrip": "4ms"}, 50e6, 0.001),
        ({"roundTrip": "40ms"}, 50e6, 0.04),
    ],
)
def test_a_measured_link_replaces_the_planned_one_outside_the_band(
    report: dict[str, str], bandwidth: float, rtt: float
) -> None:
    assert planned_links(DECLARED, published(**report)) == {"gate": NodeLink(bandwidth, rtt)}


def test_a_link_too_fast_for_probes_is_as_declared() -> None:
    declared = Links.model_validate({"local": {"bandwidth": "1G", "roundTrip": "1ms"}})
    link = published("1G", declared="1G", bandwidth="100M")
    assert planned_links(declared, link)["gate"].bandwidth == 1e9
    slower = published("20M", declared="1G", bandwidth="100M")
    assert planned_links(declared, slower)["gate"].bandwidth == 1e9


def test_a_new_declared_value_starts_over() -> None:
    slow = published("5M")
    assert planned_links(DECLARED, slow)["gate"].bandwidth == 5e6
    assert planned_links(DECLARED, published("5M", declared="1G")) == {}


def test_the_link_to_a_node_with_a_runtime_is_measured_within_the_budget() -> None:
    (link,) = local_links(DECLARED, [node(50e6)], GATE) or ()
    assert link.probe == "http://edge-runtime-gate.shop.svc.cluster.local:8080/v1/probe"
    assert (link.peer, link.bandwidth, link.declared, link.round_trip) == ("gate", 50e6, 50e6, 0.001)
    assert (link.interval, link.budget) == (2.0, 4 << 20)


def test_a_measured_value_outlives_the_runtime_at_the_other_end() -> None:
    assert local_links(DECLARED, [node(50e6)], {}) is None
    (link,) = local_links(DECLARED, [node(5e6)], {}) or ()
    assert (link.probe, link.bandwidth) == (None, 5e6)


@given(st.lists(st.integers(10**5, 10**8 - 1), min_size=1, max_size=20))
def test_reports_within_a_band_never_change_the_plan_twice(reports: list[int]) -> None:
    """A value that the plan took changes it again only outside the band around that value."""
    planned = 50_000_000
    for measured in reports:
        before = planned
        found = planned_links(DECLARED, _reported(planned, measured))
        planned = round(found["gate"].bandwidth)
        assert planned in (before, measured)
        assert planned_links(DECLARED, _reported(planned, measured))["gate"].bandwidth == planned


def _reported(planned: int, measured: int) -> Placement:
    return published(str(planned), bandwidth=str(measured))
