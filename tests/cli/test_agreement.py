"""`ei explain`, `plan` and `what-if` say what the operator does, on made-up problems.

`ei` is run on each problem first. Then it is made true in the cluster, and the operator's loops plan.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_api.quantities import format_quantity, parse_duration

World = Any
Ei = Any
PROBLEMS: dict[str, dict[str, Any]] = {
    "as it is": {"latency": "90ms"},
    "a tight SLO": {"latency": "50ms"},
    "a loose SLO": {"latency": "400ms"},
    "an SLO out of reach": {"latency": "3ms", "min_accuracy": 0.9},
    "the full model alone": {"latency": "150ms", "min_accuracy": 0.95},
    "a slow link": {"latency": "90ms", "bandwidth": 1_000_000},
    "a very slow link": {"latency": "90ms", "bandwidth": 60_000},
    "a fast link with a long round trip": {"latency": "120ms", "bandwidth": 50_000_000, "round_trip": "60ms"},
    "a high rate": {"latency": "200ms", "rate": 6.0},
    "a rate beyond the nodes": {"latency": "200ms", "rate": 80.0},
    "all of it": {
        "latency": "110ms",
        "min_accuracy": 0.8,
        "bandwidth": 4_000_000,
        "round_trip": "12ms",
        "rate": 2.0,
    },
}


@pytest.fixture(params=list(PROBLEMS.values()), ids=list(PROBLEMS))
def problem(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def published(world: World) -> dict[str, list[str]]:
    """The routes that the operator published, by entry node."""
    return {
        node: [route["name"] for route in body["spec"]["routes"]] for node, body in world.placements().items()
    }


def flags(problem: dict[str, Any]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in problem.items()]


def changed_spec(problem: dict[str, Any]) -> dict[str, Any]:
    slo = {"latency": problem["latency"], "percentile": 95, "objective": 0.95}
    if "min_accuracy" in problem:
        slo["minAccuracy"] = problem["min_accuracy"]
    return {"slo": slo} | ({"load": {"rate": problem["rate"]}} if "rate" in problem else {})


def make_true(world: World, problem: dict[str, Any]) -> None:
    world.change(**changed_spec(problem))
    link = {"state": "Up"}
    if "bandwidth" in problem:
        link["bandwidth"] = format_quantity(problem["bandwidth"])
    if "round_trip" in problem:
        link["roundTrip"] = problem["round_trip"]
    if len(link) > 1:
        world.runtimes_report(link=link)
    world.now += 60
    world.reconcile()


def test_what_if_names_the_routes_that_the_operator_then_publishes(
    world: World, ei: Ei, problem: dict[str, Any]
) -> None:
    world.settle()
    found = ei("what-if", "digits", *flags(problem), "-o", "json").document
    said = {entry["node"]: entry["after"].get("routes", []) for entry in found["entries"]}
    make_true(world, problem)
    infeasible = {node for node, routes in said.items() if not routes}
    assert {node: routes for node, routes in said.items() if routes} == {
        node: routes for node, routes in published(world).items() if node not in infeasible
    }
    assert bool(infeasible) == (world.condition("Planned")["status"] == "False")


def test_explain_names_the_routes_that_the_operator_published(
    world: World, ei: Ei, problem: dict[str, Any]
) -> None:
    world.settle()
    make_true(world, problem)
    found = ei("explain", "digits", "-o", "json").document
    routes = {entry["node"]: entry["routes"] for entry in found["entries"] if entry.get("routes")}
    here = published(world)
    assert {node: [each["name"] for each in table] for node, table in routes.items()} == {
        node: here[node] for node in routes
    }
    assert bool(set(here) - set(routes)) == (world.condition("Planned")["status"] == "False")
    assert parse_duration(found["latency"]) == parse_duration(problem["latency"])


def test_plan_names_the_routes_that_the_operator_then_publishes(
    world: World, ei: Ei, problem: dict[str, Any], tmp_path: Path
) -> None:
    world.settle()
    before = published(world)
    manifest = {k: v for k, v in world.service().items() if k != "status"}
    manifest["spec"] |= changed_spec(problem)
    file = tmp_path / "service.yaml"
    file.write_text(yaml.safe_dump(manifest))
    found = ei("plan", "-f", str(file), "--all", "-o", "json").document
    told = {entry["node"]: entry for entry in found["entries"]}
    assert {node: entry["before"]["names"] for node, entry in told.items()} == before
    after = {node: entry["after"].get("names", []) for node, entry in told.items()}
    make_true(
        world, {name: value for name, value in problem.items() if name not in ("bandwidth", "round_trip")}
    )
    now = published(world)
    assert {node: names for node, names in after.items() if names} == {
        node: now[node] for node, names in after.items() if names
    }
    assert all(
        (entry["change"] == "Unchanged") == (entry["before"] == entry.get("after")) for entry in told.values()
    )
