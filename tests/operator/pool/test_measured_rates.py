"""What the requests that runtimes count change in the plan of a pool, through the operator."""

import json
from typing import Any

import pytest

from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS, Object
from edge_operator.explaining.text import explanation_text
from edge_operator.keys import ServiceKey
from edge_operator.names import RATE_ANNOTATION
from messages import mentions
from operator_objects import KEY

World = Any  # tests/operator/conftest.py
OTHER = ServiceKey("default", "letters")
LOCAL: dict[str, Any] = {
    "privacy": "Local",
    "slo": {"latency": "900ms", "percentile": 95, "objective": 0.95},
    "entryNodes": {"nodeSelector": {"class": "camera"}},
}
SINCE = "2026-01-01T00:00:00+00:00"
SECONDS = 10.0
"""Between two reports."""


def second(world: World, **spec: Any) -> None:
    """Another service on the pool."""
    body = world.service()
    name = {"name": OTHER.name, "namespace": OTHER.namespace}
    world.cluster.put(body | {"metadata": name, "spec": body["spec"] | spec, "status": {}})


def tables(world: World, key: ServiceKey = KEY) -> dict[str, Object]:
    """The specs of a service's Placements, by node."""
    found = world.cluster.find(PLACEMENTS, key.namespace)
    return {body["spec"]["node"]: body["spec"] for body in found if body["spec"]["service"] == key.name}


def placed(world: World, *keys: ServiceKey) -> list[Object]:
    """The Placements of services, of both without a key."""
    names = {key.name for key in keys or (KEY, OTHER)}
    return [body for body in world.cluster.find(PLACEMENTS) if body["spec"]["service"] in names]


def exits(world: World, key: ServiceKey = KEY) -> dict[str, str]:
    """The exit of each node's first route."""
    return {node: spec["routes"][0]["exit"] for node, spec in tables(world, key).items()}


def planned(world: World, key: ServiceKey = KEY) -> Object:
    """The condition Planned, without its time."""
    conditions = world.cluster.get(INFERENCE_SERVICES, *key)["status"]["conditions"]
    found: Object = next(each for each in conditions if each["type"] == "Planned")
    return {name: found[name] for name in ("status", "reason", "message")}


def reported(world: World, *, late: dict[str, int] | None = None, rate: float = 0.0, **more: Any) -> None:
    """The next report of every runtime. rate: requests/s to each service. late: percent of those, by name."""
    for body in world.cluster.find(PLACEMENTS):
        before = body.get("status") or {}
        requests = int(rate * SECONDS)
        met = requests - requests * (late or {}).get(body["spec"]["service"], 0) // 100
        route = body["spec"]["routes"][0]
        status = {
            "observedGeneration": body["metadata"]["generation"],
            "loaded": True,
            "activeRoute": route["name"],
            "exit": route["exit"],
            "cut": route["cut"],
            "since": SINCE,
            "requests": before.get("requests", 0) + requests,
            "met": before.get("met", 0) + met,
            "lastUpdated": SINCE,
        }
        name = body["metadata"]["name"]
        world.cluster.report_status(PLACEMENTS, body["metadata"]["namespace"], name, status | more)
    world.pods_are_ready()
    world.reconcile()


def under_load(world: World, *, late: dict[str, int], rate: float, reports: int = 5, **more: Any) -> None:
    """Runtimes report for a while, until the statuses of services have been written too."""
    reported(world, **more)
    for _ in range(reports):
        world.now += SECONDS
        reported(world, late=late, rate=rate, **more)
    world.now += SECONDS
    world.reconcile()


def both(world: World, **spec: Any) -> None:
    """Two services with local routes: the full model takes 120 ms on a camera, the exit 30 ms."""
    world.change(**LOCAL | spec)
    second(world)
    world.settle()


def test_a_service_that_is_late_beside_another_makes_room_and_says_who_takes_it(world: World) -> None:
    both(world)
    first = tables(world)
    assert {*exits(world).values(), *exits(world, OTHER).values()} == {"final"}
    under_load(world, late={OTHER.name: 50}, rate=5.0)
    assert tables(world) == first
    assert {*exits(world, OTHER).values()} == {"exit1"}
    said = planned(world, OTHER)
    assert (said["status"], said["reason"]) == ("True", "Planned")
    assert mentions("less than", "cpu of cam-1", "used by digits").search(said["message"])
    assert planned(world)["reason"] == "Planned"


def test_a_service_that_made_room_does_not_return_because_its_requests_are_in_time_since(
    world: World,
) -> None:
    both(world)
    under_load(world, late={OTHER.name: 50}, rate=5.0)
    assert {*exits(world, OTHER).values()} == {"exit1"}
    world.log.clear()
    for _ in range(5):
        world.now += 2 * 86400.0  # late requests weigh less than 1 % then
        under_load(world, late={}, rate=5.0)
    assert {*exits(world, OTHER).values()} == {"exit1"}
    assert not [line for line in world.log if "Placement" in line]


def test_the_explanation_has_how_many_of_the_measured_requests_fit_and_what_binds(world: World) -> None:
    both(world, slo=LOCAL["slo"] | {"minAccuracy": 0.95})
    under_load(world, late={KEY.name: 50, OTHER.name: 50}, rate=12.0)
    for key in (KEY, OTHER):
        rate = world.explained(key).entries[0].rate
        assert (rate.value, rate.source, rate.fitting) == (8.0, "Measured", 3.33)
        text = explanation_text(world.explained(key))
        assert mentions("planned for 8 requests/s", "3.33 fit", "cpu of cam-1 binds").search(text)
    world.change(load={"rate": 1})
    world.reconcile()
    assert world.explained().entries[0].rate.fitting is None


def test_services_that_can_make_no_room_keep_their_tables_and_say_that_requests_are_late(
    world: World,
) -> None:
    both(world, slo=LOCAL["slo"] | {"minAccuracy": 0.95})
    before = tables(world), tables(world, OTHER)
    under_load(world, late={KEY.name: 50, OTHER.name: 50}, rate=12.0)
    assert (tables(world), tables(world, OTHER)) == before
    for key, other in ((KEY, OTHER), (OTHER, KEY)):
        said = planned(world, key)
        assert (said["status"], said["reason"]) == ("True", "SLOOutOfReach")
        assert mentions("cpu of cam-1", f"used by {other.name}", "set spec.load.rate").search(said["message"])


def test_services_whose_requests_are_in_time_keep_their_tables_and_cost_no_write(world: World) -> None:
    both(world)
    before = tables(world), tables(world, OTHER)
    world.log.clear()
    under_load(world, late={}, rate=12.0)
    assert (tables(world), tables(world, OTHER)) == before
    assert not [line for line in world.log if "Placement" in line]
    assert not any(RATE_ANNOTATION in body["metadata"].get("annotations", {}) for body in placed(world))


LINKS: list[dict[str, Any]] = [
    {"state": "Up", "bandwidth": "200k", "roundTrip": "2ms"},
    {"state": "Up", "bandwidth": "4M", "roundTrip": "2ms"},
]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("spec", [{}, LOCAL, {"mode": "CloudOnly", "slo": {"latency": "2s"}}])
def test_a_service_alone_keeps_its_table_however_much_its_clients_send(
    world: World, link: dict[str, Any], spec: dict[str, Any]
) -> None:
    world.change(**spec)
    world.settle()
    under_load(world, late={}, rate=0.0, link=link)
    before, said = tables(world), planned(world)
    under_load(world, late={KEY.name: 90}, rate=80.0, link=link)
    assert tables(world) == before
    assert planned(world) == said


def test_a_service_alone_changes_its_mode_whatever_was_measured(world: World) -> None:
    world.settle()
    under_load(world, late={KEY.name: 90}, rate=80.0, link=LINKS[0])
    for mode in ("LocalOnly", "Auto", "CloudOnly", "PartitionOnly", "Auto"):
        world.change(mode=mode)
        under_load(world, late={KEY.name: 90}, rate=80.0, link=LINKS[0])
        assert planned(world)["status"] == "True"
        assert {spec["mode"] for spec in tables(world).values()} == {mode}


def test_a_restart_keeps_what_was_measured_and_writes_nothing(world: World) -> None:
    both(world)
    under_load(world, late={OTHER.name: 50}, rate=5.0)
    assert all(RATE_ANNOTATION in body["metadata"]["annotations"] for body in placed(world))
    before, said = tables(world, OTHER), planned(world, OTHER)
    world.now += 120
    world.reconcile()
    world.restart()
    world.log.clear()
    writes = world.cluster.status_writes
    world.reconcile()
    assert world.log == []
    assert world.cluster.status_writes == writes
    assert (tables(world, OTHER), planned(world, OTHER)) == (before, said)


def test_a_restarted_operator_follows_small_changes_no_more_than_the_one_before(world: World) -> None:
    """2 % of the requests were late: too few to begin with, too many to end it."""
    both(world)
    under_load(world, late={OTHER.name: 50}, rate=5.0)
    for body in placed(world, OTHER):
        noted = json.loads(body["metadata"]["annotations"][RATE_ANNOTATION])
        counted = [body["status"]["requests"], body["status"]["met"]]
        text = json.dumps(noted | {"bands": {"4": [100.0, 2.0]}, "counted": counted})
        annotations = body["metadata"]["annotations"] | {RATE_ANNOTATION: text}
        world.cluster.put(body | {"metadata": body["metadata"] | {"annotations": annotations}})
    world.restart()
    world.log.clear()
    world.reconcile()
    assert world.log == []
    assert {*exits(world, OTHER).values()} == {"exit1"}


def test_a_service_returns_to_its_table_if_the_operator_starts_a_week_after_the_last_requests(
    world: World,
) -> None:
    both(world)
    under_load(world, late={OTHER.name: 50}, rate=5.0)
    assert {*exits(world, OTHER).values()} == {"exit1"}
    world.restart()
    world.now += 8 * 86400
    world.reconcile()
    assert {*exits(world, OTHER).values()} == {"final"}


def test_a_service_returns_to_its_table_when_when_the_other_one_is_gone(world: World) -> None:
    both(world)
    under_load(world, late={OTHER.name: 50}, rate=5.0)
    assert {*exits(world, OTHER).values()} == {"exit1"}
    world.cluster.delete(INFERENCE_SERVICES, *KEY)
    for _ in range(3):
        world.now += SECONDS
        world.reconcile()
    assert {*exits(world, OTHER).values()} == {"final"}
    assert not any(RATE_ANNOTATION in body["metadata"]["annotations"] for body in placed(world, OTHER))


@pytest.mark.parametrize(("more", "same"), [(52, True), (200, False)])
def test_a_report_is_planned_only_if_the_rate_leaves_its_band(world: World, more: int, *, same: bool) -> None:
    """50 requests in 10 s before."""
    both(world)
    under_load(world, late={}, rate=5.0)
    before = world.planned().pooled
    world.now += SECONDS
    for _ in range(8):
        world.now += SECONDS
        reported(world, rate=more / SECONDS)
    assert (world.planned().pooled is before) is same
