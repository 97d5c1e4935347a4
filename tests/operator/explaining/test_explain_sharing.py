"""Explanations of services that share the nodes of a pool."""

import random
from dataclasses import replace
from typing import Any

import pytest

from edge_api import reasons
from edge_operator.cluster import INFERENCE_SERVICES, NODES, PLACEMENTS
from edge_operator.errors import ExplanationError
from edge_operator.explaining.entries import EntryExplainer
from edge_operator.explaining.text import explanation_text
from edge_operator.keys import ServiceKey
from edge_operator.pool.demands import plan_services
from edge_operator.store_answers import RequestTime
from edge_planning.pools import Observed
from messages import mentions
from operator_objects import node_body
from pooled import members, pool, service

World = Any  # tests/operator/conftest.py
DIGITS = ServiceKey("default", "digits")
LETTERS = ServiceKey("default", "letters")
CAMERAS = {"nodeSelector": {"class": "camera"}}
BUSY = {
    "mode": "LocalOnly",
    "slo": {"latency": "900ms", "percentile": 95, "objective": 0.95, "minAccuracy": 0.95},
    "load": {"rate": 5},
    "entryNodes": CAMERAS,
}
"""Takes 60 % of the time of a camera."""
ANY_EXIT = {"latency": "900ms", "percentile": 95, "objective": 0.95}


def add(world: World, key: ServiceKey = LETTERS, **spec: Any) -> None:
    """Another service on the pool."""
    body = world.service()
    metadata = {"name": key.name, "namespace": key.namespace}
    world.cluster.put({**body, "metadata": metadata, "spec": body["spec"] | spec, "status": {}})


def condition(world: World, key: ServiceKey, kind: str = "Planned") -> Any:
    body = world.cluster.get(INFERENCE_SERVICES, *key)
    return next(each for each in body["status"]["conditions"] if each["type"] == kind)


def published(world: World, key: ServiceKey) -> dict[str, list[str]]:
    return {
        body["spec"]["node"]: [route["name"] for route in body["spec"]["routes"]]
        for body in world.cluster.find(PLACEMENTS, key.namespace)
        if body["spec"]["service"] == key.name
    }


def test_for_a_service_without_room_what_binds_its_users_and_what_makes_room_are_named(world: World) -> None:
    world.change(**BUSY)
    world.settle()
    add(world)
    world.settle()
    entry = world.explained(LETTERS).entries[0]
    assert (entry.node, entry.feasible, entry.table, entry.routes) == ("cam-1", False, "None", ())
    assert entry.shortage in condition(world, LETTERS)["message"]
    assert mentions("cpu of cam-1", "60%", "40%", "used by digits", "spec.load.rate", "3.33").search(
        entry.shortage
    )
    (lost,) = entry.rejected
    assert lost.name == "final@local"
    assert mentions("does not fit", "cpu of cam-1", "digits").search(lost.reason)
    assert entry.shortage in explanation_text(world.explained(LETTERS))


def test_the_uses_count_the_other_services_of_the_node(world: World) -> None:
    world.change(**BUSY)
    world.settle()
    add(world, load={"rate": 2})
    world.settle()
    for key, own in ((DIGITS, 0.6), (LETTERS, 0.24)):
        entry = world.explained(key).entries[0]
        cpu = next(use for use in entry.uses if use.resource == "Cpu")
        assert (cpu.place, cpu.own, cpu.total, cpu.capacity) == (
            "cam-1", pytest.approx(own), pytest.approx(0.84), 1.0,
        )  # fmt: skip


def test_the_processor_time_of_requests_is_explained_if_it_is_measured(world: World) -> None:
    world.change(**BUSY)
    world.settle()
    assert world.explained().entries[0].request_time is None
    assert mentions("requests outside of inference", "not measured").search(
        explanation_text(world.explained())
    )


def test_the_uses_of_a_service_include_the_processor_time_of_its_requests(world: World) -> None:
    requests = RequestTime(
        processors=0.5,
        receive_seconds=0.002,
        receive_seconds_per_byte=0.0,
        hop_seconds=0.001,
        hop_seconds_per_byte=0.0,
    )
    world.store.profiles["camera"] = world.store.profiles["camera"].model_copy(update={"requests": requests})
    world.change(**BUSY)
    world.settle()
    entry = world.explained().entries[0]
    cpu = next(use for use in entry.uses if use.resource == "Cpu")
    assert cpu.own == pytest.approx(0.6 + 5 * 0.004)
    assert mentions("requests outside of inference", "4ms").search(explanation_text(world.explained()))
    written = world.cluster.version()
    world.restart()
    world.settle()
    assert world.cluster.version() == written


def test_the_latencies_include_the_waits_for_the_requests_of_others(world: World) -> None:
    world.change(**BUSY)
    world.settle()
    alone = next(each for each in world.explained().entries[0].weighed)
    add(world, load={"rate": 2})
    world.settle()
    beside = next(each for each in world.explained().entries[0].weighed)
    assert (alone.name, beside.name) == ("final@local", "final@local")
    assert beside.latency > 1.5 * alone.latency


def test_a_candidate_that_does_not_fit_is_not_the_chosen_one(world: World) -> None:
    world.change(**BUSY)
    world.settle()
    add(world, mode="RightSizingOnly", slo=ANY_EXIT)
    world.settle()
    entry = world.explained(LETTERS).entries[0]
    assert [route.name for route in entry.routes] == ["exit1@local"]
    assert [each.name for each in entry.weighed if each.reason is None] == ["exit1@local"]
    reasons_of = {each.name: each.reason for each in entry.weighed}
    assert mentions("does not fit", "cpu of cam-1").search(reasons_of["final@local"] or "")
    assert mentions("cpu of cam-1", "digits").search(entry.shortage)


def test_what_is_explained_is_what_the_operator_planned_for_every_service(world: World) -> None:
    chance = random.Random(7)
    world.cluster.put(node_body("cam-3", "camera"))
    keys = [ServiceKey(f"team-{n % 2}", f"s{n}") for n in range(6)]
    world.settle()
    for key in keys:
        add(
            world,
            key,
            mode=chance.choice(["Auto", "LocalOnly", "CloudOnly"]),
            slo={"latency": f"{chance.choice([60, 90, 200, 900])}ms", "percentile": 95, "objective": 0.95},
            load={"rate": chance.choice([0.5, 2.0, 4.0])},
            priority=chance.randint(0, 2),
        )
    for _ in range(3):
        world.settle()
    refused = 0
    for key in keys:
        found = world.explained(key)
        shown = {entry.node: [route.name for route in entry.routes] for entry in found.entries}
        joint = world.loops["factory"].plan.joint.entries[key]
        planned = {
            entry.member.node.name: [] if entry.plan is None else [r.name for r in entry.plan.table.routes]
            for entry in joint
        }
        assert shown == planned
        assert {entry.node: entry.shortage for entry in found.entries} == {
            entry.member.node.name: entry.shortage for entry in joint
        }
        refused += sum(not entry.feasible for entry in found.entries)
    assert refused


def test_a_published_table_that_is_planned_again_is_said_to_be_as_planned(world: World) -> None:
    world.settle()
    assert {entry.table for entry in world.explained().entries} == {"Published"}
    assert mentions("published table", "planned now").search(explanation_text(world.explained()))


def test_a_published_table_that_stands_is_explained_as_such(world: World) -> None:
    """An operator that starts keeps the tables whose demands are as noted, also if it would plan others."""
    world.settle()
    for body in world.placements().values():
        del body["spec"]["routes"][0]
        world.cluster.put(body)
    found = world.explained().entries
    assert {entry.table for entry in found} == {"Standing"}
    for entry in found:
        assert [route.name for route in entry.routes] == published(world, DIGITS)[entry.node]
        assert all(route.meets_from is not None for route in entry.routes)
    assert mentions("published table", "nothing", "changed").search(explanation_text(world.explained()))


def test_a_table_that_is_to_be_replaced_is_said_to_differ(world: World) -> None:
    world.settle()
    world.change(mode="LocalOnly", entryNodes=CAMERAS)
    assert {entry.table for entry in world.explained().entries} == {"Changed"}


def test_a_service_of_another_namespace_is_counted_and_not_named(world: World) -> None:
    world.change(**BUSY)
    world.settle()
    add(world, ServiceKey("other", "letters"))
    world.settle()
    entry = world.explained(ServiceKey("other", "letters")).entries[0]
    assert mentions("other namespaces", "60%").search(entry.shortage)
    assert "digits" not in explanation_text(world.explained(ServiceKey("other", "letters")))


def test_a_table_that_stays_without_room_is_marked(world: World) -> None:
    world.change(**BUSY)
    world.settle()
    add(world, priority=1)
    world.settle()
    world.settle()
    entry = world.explained().entries[0]
    assert (entry.table, entry.feasible) == ("WithoutRoom", False)
    assert mentions("cpu of cam-1", "letters").search(entry.shortage)
    assert published(world, DIGITS)["cam-1"] == ["final@local"]


def test_services_that_cannot_be_planned_yet_are_listed_as_not_counted(world: World) -> None:
    world.settle()
    add(world)
    assert mentions("not counted", "letters").search("; ".join(world.explained().notes))


def test_the_rate_and_the_links_are_those_that_are_planned_with(world: World) -> None:
    world.settle()
    world.runtimes_report(link={"state": "Up", "bandwidth": "3920000", "roundTrip": "2ms"})
    entry = world.explained().entries[0]
    assert (entry.rate.value, entry.rate.source, entry.rate.reserved) == (0.01, "Default", 0.01)
    (link,) = entry.links
    assert (entry.server, link.peer, link.bandwidth) == ("cloud", "cloud", 3_920_000)
    world.change(load={"rate": 0.5})
    rate = world.explained().entries[0].rate
    assert (rate.value, rate.source, rate.reserved) == (0.5, "Declared", 0.5)


def test_measured_margins_differ_from_those_of_the_profile(world: World) -> None:
    world.settle()
    assert not any(margin.measured for margin in world.explained().entries[0].margins)
    residuals = [{"exit": "final", "ratios": [1.5] * 40}]
    world.runtimes_report(residuals=residuals)
    world.reconcile()
    margins = {margin.exit: margin for margin in world.explained().entries[0].margins}
    assert (margins["final"].measured, margins["final"].factor) == (True, pytest.approx(1.5, rel=0.1))
    assert not margins["exit1"].measured


def test_a_pool_without_its_nodes_is_explained_by_the_condition(world: World) -> None:
    world.settle()
    for body in world.cluster.find(NODES):
        world.remove_node(body["metadata"]["name"])
    world.reconcile()
    with pytest.raises(ExplanationError, match=mentions("factory", "nodeSelector")) as raised:
        world.explained()
    assert str(raised.value).endswith(condition(world, DIGITS)["message"])
    assert condition(world, DIGITS)["reason"] == reasons.NO_NODES


def test_measured_requests_count_as_used_and_nothing_is_reserved_for_them() -> None:
    nodes = members(1, 0)
    first, second = (
        replace(
            service(name, nodes, mode="LocalOnly", slo={"latency": "400ms"}),
            observed={"cam-0": Observed(rate)},
        )
        for name, rate in (("first", 2.0), ("second", 3.0))
    )
    plan = plan_services(pool(nodes, first, second))
    entry = EntryExplainer(plan).explain(first, plan.of(first.key)[0])
    assert (entry.rate.value, entry.rate.source, entry.rate.reserved) == (2.0, "Measured", 0.01)
    cpu = next(use for use in entry.uses if use.resource == "Cpu")
    assert [cpu.own, cpu.total] == pytest.approx([0.24, 0.6])
