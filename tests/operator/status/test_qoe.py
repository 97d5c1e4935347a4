"""status.qoe: accuracy, latency, communication, energy, privacy and memory by the active routes."""

from collections.abc import Mapping
from typing import Any

import pytest

from edge_api import Placement
from edge_api.inferenceservices import InferenceService, SloStatus
from edge_api.qoe import QoeStatus
from edge_api.quantities import Duration
from edge_operator.pool.entries import Entry
from edge_operator.pool.qoe import qoe_status
from edge_operator.pool_nodes import Node
from operator_objects import service_body

IMAGE, HIDDEN, LOGITS = (
    {"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in ("image", "hidden", "logits")
)
ELSEWHERE = {"address": "http://there:8000", "model": "tail"}


def slice_of(digest: str, size: int, given: Any, made: Any) -> dict[str, Any]:
    return {"digest": "sha256:" + digest * 64, "size": size, "inputs": [given], "outputs": [made]}


WHOLE = {"place": "n", "runtime": "Edge", "slice": slice_of("a", 100, IMAGE, LOGITS)}
HEAD = {"place": "n", "runtime": "Edge", "slice": slice_of("b", 60, IMAGE, HIDDEN)}
TAIL = {"place": "cloud", "runtime": "Triton", "slice": slice_of("c", 40, HIDDEN, LOGITS), **ELSEWHERE}
FAR = {"place": "cloud", "runtime": "Triton", "slice": slice_of("a", 100, IMAGE, LOGITS), **ELSEWHERE}
ROUTES: Mapping[str, dict[str, Any]] = {
    "early": {"cut": "local", "stages": [WHOLE], "accuracy": 0.9, "predictedEnergy": 0.5},
    "split": {"cut": "hidden", "stages": [HEAD, TAIL], "accuracy": 0.96, "predictedEnergy": 0.2}
    | {"predictedBytes": 4000},
    "cloud": {"cut": "image", "stages": [FAR], "accuracy": 0.96, "predictedEnergy": 0.1}
    | {"predictedBytes": 16000},
}


def entry(name: str, active: str | None, **other: Any) -> Entry:
    """A node with all three routes, by the active one. other: fields of that route."""
    routes = [
        {"name": key, "exit": "final", "minBandwidth": "0", "predictedLatency": "1ms"}
        | route
        | (other if key == active else {})
        for key, route in ROUTES.items()
    ]
    placement = Placement.model_validate(
        {
            "metadata": {"name": f"s.{name}"},
            "spec": {
                "service": "s",
                "node": name,
                "model": {"digest": "sha256:" + "a" * 64, "inputs": [IMAGE], "outputs": [LOGITS]},
                "slo": {"latency": "1s"},
                "routes": routes,
            },
            "status": {"loaded": True, "activeRoute": active},
        }
    )
    return Entry(Node(name, {}, ready=True), placement)


def measures(*entries: Entry, slo: SloStatus | None = None) -> QoeStatus:
    found = qoe_status(entries, slo)
    assert found is not None
    return found


def test_means_over_entry_nodes_and_the_worst_of_them() -> None:
    found = measures(entry("a", "early"), entry("b", "split"), slo=SloStatus(p95=Duration(0.05)))
    assert float(found.accuracy) == pytest.approx(0.93)
    assert (found.latency, found.communication, found.energy) == (0.05, 2000, 0.35)
    assert found.privacy == "InputStaysLocal"
    assert found.memory == 160  # both slices of the node, each once


@pytest.mark.parametrize(
    ("active", "privacy"), [("early", "Local"), ("split", "InputStaysLocal"), ("cloud", "Any")]
)
def test_privacy_is_what_leaves_the_node(active: str, privacy: str) -> None:
    assert measures(entry("a", active)).privacy == privacy


def test_the_most_open_entry_node_decides_on_privacy() -> None:
    assert measures(entry("a", "early"), entry("b", "cloud"), entry("c", "split")).privacy == "Any"


def test_a_local_route_sends_nothing() -> None:
    assert measures(entry("a", "early")).communication == 0


def test_a_hop_to_another_node_alone_does_not_use_the_uplink() -> None:
    near = {**TAIL, "place": "gateway", "runtime": "Edge"}
    found = measures(entry("a", "split", stages=[HEAD, near], predictedBytes=None))
    assert (found.communication, found.privacy) == (0, "InputStaysLocal")


def test_what_a_table_of_an_earlier_version_does_not_tell_is_left_out() -> None:
    found = measures(entry("a", "early"), entry("b", "split", predictedBytes=None, predictedEnergy=None))
    assert (found.communication, found.energy) == (None, None)


def test_no_active_route_has_no_measures() -> None:
    assert qoe_status([entry("a", None)], None) is None
    assert qoe_status([], None) is None


def test_a_written_status_is_read_with_the_same_values() -> None:
    found = measures(entry("a", "split"))
    written = found.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert written["communication"] == "4k"
    service = InferenceService.model_validate(service_body() | {"status": {"qoe": written}})
    assert service.status is not None
    assert service.status.qoe == found
