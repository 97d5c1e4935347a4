"""What runtimes report about the plan's predictions becomes the margin of the next plan."""

import json
from typing import Any

import pytest

from edge_api.quantities import parse_duration

MARGINS = "edge-intelligence.io/planned-margins"


def report(world: Any, *ratios: float, exit_: str = "final") -> None:
    residuals = [{"exit": exit_, "count": len(ratios), "ratios": sorted(ratios)}]
    world.runtimes_report(residuals=residuals)
    world.reconcile()


def local(world: Any, node: str = "cam-1") -> dict[str, Any]:
    """The most accurate local route."""
    routes: list[dict[str, Any]] = world.placements()[node]["spec"]["routes"]
    return next(route for route in routes if route["cut"] == "local")


def margins(world: Any, node: str = "cam-1") -> dict[str, float]:
    annotations = world.placements()[node]["metadata"].get("annotations", {})
    found: dict[str, float] = json.loads(annotations.get(MARGINS, "{}"))
    return found


def settled(world: Any) -> Any:
    world.change(slo={"latency": "200ms"})
    world.settle()
    return world


def test_slower_runs_than_planned_raise_the_predicted_latency(world: Any) -> None:
    before = parse_duration(local(settled(world))["predictedLatency"])
    report(world, *[1.3] * 40)
    assert margins(world) == {"final": 1.3}
    after = parse_duration(local(world)["predictedLatency"])
    assert after - before == pytest.approx(0.3 * 0.12, abs=1e-3)


def test_a_margin_beyond_the_slo_moves_the_local_route_to_an_earlier_exit(world: Any) -> None:
    assert local(settled(world))["name"] == "final@local"
    report(world, *[2.0] * 40)
    assert local(world)["name"] == "exit1@local"


def test_too_few_residuals_or_a_small_difference_change_no_placement(world: Any) -> None:
    settled(world)
    before = {node: body["metadata"]["generation"] for node, body in world.placements().items()}
    report(world, *[3.0] * 5)
    report(world, *[1.08] * 40)
    assert margins(world) == {}
    assert {node: body["metadata"]["generation"] for node, body in world.placements().items()} == before


def test_a_margin_stays_until_residuals_clearly_differ_from_it(world: Any) -> None:
    settled(world)
    report(world, *[1.3] * 40)
    report(world, *[1.4] * 40)
    assert margins(world) == {"final": 1.3}
    world.restart()
    report(world, *[1.25] * 40)
    assert margins(world) == {"final": 1.3}
    report(world, *[1.0] * 40)
    assert margins(world) == {}


def test_residuals_of_one_class_are_not_used_for_another(world: Any) -> None:
    settled(world)
    for node, body in world.placements().items():
        if node.startswith("cam"):
            body["status"]["residuals"] = [{"exit": "final", "count": 40, "ratios": [1.3] * 40}]
            world.cluster.objects["Placement", "default", body["metadata"]["name"]]["status"] = body["status"]
    world.reconcile()
    assert margins(world, "cam-1") == margins(world, "cam-2") == {"final": 1.3}
    assert margins(world, "gate") == {}


FACTOR = "edge-intelligence.io/compute-factor"


def measured(world: Any, ratios: dict[str, float]) -> None:
    """Each node reports that its runs take so many times as long as planned."""
    for node, body in world.placements().items():
        if node in ratios:
            found = [{"exit": "final", "count": 40, "ratios": [ratios[node]] * 40}]
            status = {**body["status"], "residuals": found}
            world.cluster.objects["Placement", "default", body["metadata"]["name"]]["status"] = status
    world.reconcile()


def test_a_node_unlike_its_class_is_planned_with_its_own_margin_and_shown(world: Any) -> None:
    settled(world)
    measured(world, {"cam-1": 1.0, "cam-2": 2.0})
    assert margins(world, "cam-1") == {}
    assert margins(world, "cam-2") == {"final": 2.0}
    assert world.placements()["cam-2"]["metadata"]["annotations"][FACTOR] == "2"
    assert FACTOR not in world.placements()["cam-1"]["metadata"].get("annotations", {})
    world.reconcile()
    entries = {each["node"]: each for each in world.service()["status"]["entries"]}
    assert entries["cam-2"]["computeFactor"] == 2
    assert "computeFactor" not in entries["cam-1"]


def test_a_node_that_is_like_its_class_again_shares_its_margins(world: Any) -> None:
    settled(world)
    measured(world, {"cam-1": 1.0, "cam-2": 2.0})
    measured(world, {"cam-1": 1.0, "cam-2": 1.0})
    assert margins(world, "cam-2") == {}
    assert FACTOR not in world.placements()["cam-2"]["metadata"].get("annotations", {})
