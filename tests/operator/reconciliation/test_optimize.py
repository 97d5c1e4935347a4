"""spec.optimize and prices: from the YAML of service and pool to the routes of the Placements."""

from typing import Any

import pytest
import yaml

from edge_api import reasons
from edge_operator.explaining.text import explanation_text

COST = "optimize: Cost\nslo: {latency: 150ms, minAccuracy: 0.9}"  # the cameras take 120 ms for the full model
POWER: dict[str, Any] = {"watts": 10.0}


def change(world: Any, text: str, prices: str = "", **group: Any) -> None:
    pool = world.pool()
    pool["spec"]["prices"] = yaml.safe_load(prices) or {}
    for nodes in pool["spec"]["nodes"]:
        nodes.update(group)
    world.cluster.put(pool)
    world.change(**yaml.safe_load(text))
    world.settle()


def routes(world: Any, node: str = "cam-1") -> list[Any]:
    found: list[Any] = world.placements()[node]["spec"]["routes"]
    return found


def specs(world: Any) -> dict[str, Any]:
    return {node: placement["spec"] for node, placement in world.placements().items()}


def names(world: Any) -> list[str]:
    return [route["name"] for route in routes(world)]


def test_another_price_gives_another_route_table(world: Any) -> None:
    change(world, COST, "{uplinkGigabyte: 100, joule: 0.000001}", **POWER)
    dear_uplink = names(world)
    change(world, COST, "{tritonSecond: 0.1, uplinkGigabyte: 0.01, joule: 1}", **POWER)
    dear_energy = names(world)
    assert dear_uplink == ["final@local"]
    assert dear_energy[0] == "final@image"


def test_a_price_of_traffic_sends_the_smaller_tensor(world: Any) -> None:
    change(world, COST, "{uplinkGigabyte: 100, joule: 0.0004}", **POWER)
    first = routes(world)[0]
    assert first["name"] == "final@pool2"
    assert first["predictedCost"] == pytest.approx(1024 * 100 / 1e9 + 0.07 * 10 * 0.0004, rel=1e-3)


def test_routes_carry_the_energy_and_the_bytes_of_a_request(world: Any) -> None:
    change(world, COST, "{uplinkGigabyte: 100, joule: 0.0004}", **POWER)
    found = {route["name"]: route for route in routes(world)}
    split = found["final@pool2"]
    assert split["predictedEnergy"] == pytest.approx(0.07 * 10, rel=1e-3)
    assert split["predictedBytes"] == 1024
    local = found["final@local"]
    assert local["predictedEnergy"] > split["predictedEnergy"]
    assert "predictedBytes" not in local


def test_without_power_no_route_has_an_energy(world: Any) -> None:
    world.settle()
    assert [route for route in routes(world) if "predictedEnergy" in route] == []


def test_a_restarted_operator_publishes_no_table_again(world: Any) -> None:
    """It reads energy and bytes back, so that what it renders equals what is published."""
    change(world, COST, "{uplinkGigabyte: 100, joule: 0.0004}", **POWER)
    before = specs(world)
    world.restart()
    world.settle()
    assert specs(world) == before


def test_routes_carry_their_worth_and_cost_and_the_cheapest_is_worth_most(world: Any) -> None:
    change(world, COST, "{tritonSecond: 0.1, joule: 0.1}", **POWER)
    costs = [route["predictedCost"] for route in routes(world)]
    worths = [route["worth"] for route in routes(world)]
    assert len(costs) > 1
    assert sorted(zip(costs, worths, strict=True)) == sorted(
        zip(costs, worths, strict=True), key=lambda pair: -pair[1]
    )


def test_with_accuracy_the_worth_of_a_route_is_its_accuracy_and_prices_change_nothing(world: Any) -> None:
    world.settle()
    before = names(world)
    change(world, "optimize: Accuracy", "{tritonSecond: 5}")
    assert names(world) == before
    assert not [route for route in routes(world) if "worth" in route]
    assert [route["predictedCost"] > 0 for route in routes(world)] == [
        not route["name"].endswith("@local") for route in routes(world)
    ]


def test_energy_is_saved_by_sending_the_input_where_computing_takes_more(world: Any) -> None:
    change(world, "optimize: Energy\nslo: {latency: 150ms, minAccuracy: 0.9}", **POWER)
    assert names(world)[0] == "final@image"


@pytest.mark.parametrize(
    ("optimize", "field"), [("Cost", "spec.prices"), ("Energy", "watts or radio in spec.nodes")]
)
def test_what_the_pool_lacks_is_a_condition_that_names_it(world: Any, optimize: str, field: str) -> None:
    world.settle()
    before = specs(world)
    change(world, f"optimize: {optimize}")
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", reasons.NOTHING_TO_OPTIMIZE)
    assert all(part in planned["message"] for part in (f'"{optimize}"', field, "DevicePool factory"))
    assert specs(world) == before


def test_explain_shows_costs_and_says_what_costs_less(world: Any) -> None:
    change(world, COST, "{uplinkGigabyte: 100, joule: 0.0004}", **POWER)
    found = world.explained()
    assert found.optimize == "Cost"
    entry = next(each for each in found.entries if each.node == "cam-1")
    best = next(each for each in entry.weighed if each.reason is None)
    assert best.name == "final@pool2"
    assert best.cost == entry.routes[0].predicted_cost
    assert [each for each in entry.weighed if each.reason == "final@pool2 costs less"]
    assert "optimize Cost" in explanation_text(found)
    assert "  cost" in explanation_text(found)


def test_a_price_of_energy_without_power_is_an_error_of_the_pool(world: Any) -> None:
    change(world, COST, "{joule: 1}")
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", reasons.BAD_DEVICE_POOL)
    assert all(part in planned["message"] for part in ("prices.joule", "watts"))
