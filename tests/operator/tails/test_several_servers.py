"""A pool of several Triton servers: the plan chooses one for each entry node, another one if it is lost."""

import itertools
import random
from collections import Counter
from typing import Any

import pytest

from edge_operator.cluster import PLACEMENTS
from edge_operator.errors import TailRefusedError
from edge_operator.names import SERVERS_ANNOTATION
from edge_operator.pool.server_availability import AWAY_AFTER, STEADY_AFTER
from messages import mentions
from operator_objects import KEY, device_profile
from several_servers import give_servers, pass_time, used

World = Any  # tests/operator/conftest.py
NAMES = ("cloud-a", "cloud-b")


def other(name: str) -> str:
    return next(each for each in NAMES if each != name)


def placed(world: World) -> Any:
    return world.condition("Placed")


def test_entry_nodes_spread_over_equal_servers_and_stay_there(world: World) -> None:
    servers = give_servers(world, NAMES)
    world.settle()
    first = used(world)
    counts = Counter(first.values())
    assert max(counts.values()) - min(counts.values()) <= 1
    assert set(counts) == set(NAMES)
    assert all(server.models for server in servers.by_name.values())
    world.log.clear()
    world.restart()
    pass_time(world, 400)
    assert used(world) == first
    assert not [entry for entry in world.log if entry.startswith(("apply Placement", "load", "unload"))]


def test_a_single_server_leaves_no_trace_of_a_choice(world: World) -> None:
    world.settle()
    assert set(used(world).values()) == {"cloud"}
    notes = [p["metadata"].get("annotations") or {} for p in world.placements().values()]
    assert not any(SERVERS_ANNOTATION in each for each in notes)


def test_the_faster_server_is_used(world: World) -> None:
    world.store.profiles["slow"] = device_profile("slow", 0.5)
    give_servers(world, NAMES, cloud_a={"deviceClass": "slow"})
    world.settle()
    # The gateway meets the SLO by itself with either.
    assert {used(world)[node] for node in ("cam-1", "cam-2")} == {"cloud-b"}


def test_entry_nodes_move_to_a_faster_server_once_it_has_been_up_for_long_enough(world: World) -> None:
    world.store.profiles["slow"] = device_profile("slow", 0.5)
    give_servers(world, NAMES, cloud_a={"deviceClass": "slow"})
    world.triton.by_name["cloud-b"].away = True
    pass_time(world, AWAY_AFTER + 20)
    assert used(world)["cam-1"] == "cloud-a"
    world.restart()
    world.triton.by_name["cloud-b"].away = False
    pass_time(world, STEADY_AFTER - 10)
    assert used(world)["cam-1"] == "cloud-a"
    pass_time(world, 30)
    assert used(world)["cam-1"] == "cloud-b"


def test_an_entry_node_with_local_routes_alone_does_not_wait_for_a_server_to_be_steady(world: World) -> None:
    world.store.profiles["slow"] = device_profile("slow", 50.0)
    measured = world.store.profiles.pop("cloud")
    give_servers(world, NAMES, cloud_a={"deviceClass": "slow"})
    world.settle()
    assert used(world)["cam-1"] == "cloud-a"
    assert not sends(world, "cam-1")
    world.store.profiles["cloud"] = measured
    pass_time(world, 30)
    assert used(world)["cam-1"] == "cloud-b"
    assert sends(world, "cam-1")


def sends(world: World, node: str) -> bool:
    """Whether a route of the node's table leads to a Triton server."""
    routes = world.placements()[node]["spec"]["routes"]
    return any(stage["runtime"] == "Triton" for route in routes for stage in route["stages"])


def test_a_server_without_a_profile_is_not_used(world: World) -> None:
    give_servers(world, NAMES, cloud_a={"deviceClass": "new", "nodeSelector": {"class": "new"}})
    world.node("large", "new")
    world.settle()
    assert set(used(world).values()) == {"cloud-b"}
    assert mentions("new", "further Triton servers").search(world.condition("Profiled")["message"])


@pytest.fixture
def outage(world: World) -> str:
    """The world after the loss of the server that cam-1 used; returns its name."""
    servers = give_servers(world, NAMES)
    world.settle()
    lost = used(world)["cam-1"]
    servers.by_name[lost].away = True
    servers.by_name[lost].models.clear()
    return lost


def test_a_short_outage_moves_nothing(world: World, outage: str) -> None:
    before = world.placements()
    pass_time(world, AWAY_AFTER - 10)
    assert used(world) == {node: body["spec"]["link"]["peer"] for node, body in before.items()}
    assert placed(world)["reason"] == "TritonUnreachable"
    world.triton.by_name[outage].away = False
    pass_time(world, 60)
    assert {n: b["metadata"]["generation"] for n, b in world.placements().items()} == {
        n: b["metadata"]["generation"] for n, b in before.items()
    }
    assert world.triton.by_name[outage].models


def test_services_of_a_lost_server_use_the_next_one(world: World, outage: str) -> None:
    world.log.clear()
    pass_time(world, AWAY_AFTER + 20)
    assert set(used(world).values()) == {other(outage)}
    tables = world.placements().values()
    named = {s["model"] for t in tables for r in t["spec"]["routes"] for s in r["stages"] if "model" in s}
    assert named
    assert named <= world.triton.by_name[other(outage)].models
    loads = [i for i, entry in enumerate(world.log) if entry.startswith("load")]
    moved = [i for i, entry in enumerate(world.log) if entry == "apply Placement digits.cam-1"]
    assert moved
    assert max(loads, default=-1) < min(moved)
    assert placed(world)["status"] == "True"
    assert mentions(f"Triton server {outage}", other(outage), "cam-1").search(placed(world)["message"])


def test_entry_nodes_return_once_the_server_has_been_up_for_long_enough(world: World, outage: str) -> None:
    before = used(world)
    pass_time(world, AWAY_AFTER + 20)
    world.triton.by_name[outage].away = False
    pass_time(world, STEADY_AFTER - 10)
    assert set(used(world).values()) == {other(outage)}
    pass_time(world, 30)
    assert used(world) == before
    assert outage not in placed(world)["message"]


def test_a_restart_of_the_operator_neither_ends_an_outage_nor_forgets_where_to_return(
    world: World, outage: str
) -> None:
    before = used(world)
    pass_time(world, AWAY_AFTER + 20)
    world.restart()
    pass_time(world, AWAY_AFTER + 20)
    assert set(used(world).values()) == {other(outage)}
    assert mentions(f"Triton server {outage}").search(placed(world)["message"])
    world.triton.by_name[outage].away = False
    world.restart()
    pass_time(world, STEADY_AFTER - 10)
    assert set(used(world).values()) == {other(outage)}
    pass_time(world, 30)
    assert used(world) == before


def test_a_service_that_sends_nothing_does_not_mention_the_lost_server(world: World) -> None:
    servers = give_servers(world, NAMES)
    world.change(mode="LocalOnly", slo={"latency": "1s", "percentile": 95, "objective": 0.95})
    world.settle()
    servers.by_name["cloud-a"].away = True
    pass_time(world, AWAY_AFTER + 20)
    assert placed(world)["reason"] == "Published"
    assert "cloud" not in placed(world)["message"]


def test_a_server_that_comes_and_goes_is_left_once(world: World, outage: str) -> None:
    first, moves = used(world), 0
    before = first
    for _ in range(12):
        for away, seconds in ((True, AWAY_AFTER + 20), (False, 60)):
            world.triton.by_name[outage].away = away
            pass_time(world, seconds)
            moves += used(world) != before
            before = used(world)
    assert moves == 1
    assert set(before.values()) == {other(outage)}
    pass_time(world, STEADY_AFTER)
    assert used(world) == first


def test_nothing_moves_if_all_servers_are_lost(world: World, outage: str) -> None:
    before = used(world)
    world.triton.by_name[other(outage)].away = True
    pass_time(world, 4 * AWAY_AFTER)
    assert used(world) == before
    assert placed(world)["reason"] == "TritonUnreachable"


def test_a_server_without_room_is_replaced_and_gets_nothing(world: World) -> None:
    servers = give_servers(world, NAMES, cloud_a={"memory": "1Mi"})
    pass_time(world, 60)
    assert set(used(world).values()) == {"cloud-b"}
    assert placed(world)["reason"] == "Published"
    assert not servers.by_name["cloud-a"].models


def test_without_room_anywhere_the_other_routes_are_served(world: World) -> None:
    give_servers(world, NAMES, cloud_a={"memory": "1Mi"}, cloud_b={"memory": "1Mi"})
    pass_time(world, 60)
    assert placed(world)["reason"] == "TritonFull"
    stages = [s for p in world.placements().values() for r in p["spec"]["routes"] for s in r["stages"]]
    assert {stage["runtime"] for stage in stages} == {"Edge"}


def test_a_server_that_refuses_a_tail_holds_up_its_own_entry_nodes_alone(world: World) -> None:
    servers = give_servers(world, NAMES)
    world.settle()
    before, by_node = world.placements(), used(world)
    assert set(by_node.values()) == set(NAMES)
    servers.by_name["cloud-b"].failure = TailRefusedError("no such backend")
    world.change(privacy="InputStaysLocal", slo={"latency": "70ms"})
    world.reconcile()
    after = world.placements()
    assert {node for node in after if after[node]["spec"] != before[node]["spec"]} == {
        node for node, server in by_node.items() if server == "cloud-a"
    }
    assert (placed(world)["status"], placed(world)["reason"]) == ("False", "TailRefused")
    assert "no such backend" in placed(world)["message"]


def test_a_server_that_leaves_the_pool_is_replaced(world: World) -> None:
    give_servers(world, NAMES)
    world.settle()
    pool = world.pool()
    pool["spec"]["tritonServers"] = pool["spec"]["tritonServers"][:1]
    world.cluster.put(pool)
    pass_time(world, 20)
    assert set(used(world).values()) == {"cloud-a"}


def test_an_intermediate_node_sends_to_the_server_of_each_entry_node(world: World) -> None:
    give_servers(world, NAMES)
    pool = world.pool()
    pool["spec"]["nodes"][1]["tier"] = "Device"
    world.cluster.put(pool)
    world.change(entryNodes={"nodeSelector": {"class": "camera"}})
    world.store.profiles["gateway"] = device_profile("gateway", 0.7)
    world.store.profiles["cloud"] = device_profile("cloud", 0.002)
    pass_time(world, 60)
    relayed = {each["model"]: each for each in world.placements()["gate"]["spec"]["intermediateSlices"]}
    ends = {}
    for node in ("cam-1", "cam-2"):
        for route in world.placements()[node]["spec"]["routes"]:
            for before, after in itertools.pairwise(route["stages"]):
                if before["place"] == "gate" and after["runtime"] == "Triton":
                    assert relayed[before["model"]]["stages"][-1]["address"] == after["address"]
                    ends[node] = after["place"]
    assert set(ends.values()) == set(NAMES)


def test_a_new_link_starts_from_the_measurement_of_another_service(world: World) -> None:
    give_servers(world, NAMES)
    world.settle()
    far = {"link": {"state": "Up", "bandwidth": "20M", "roundTrip": "30ms"}}
    first = used(world)["cam-1"]
    body = world.placements()["cam-1"]
    name = body["metadata"]["name"]
    spec = body["spec"] | {"service": "faces", "link": body["spec"]["link"] | {"peer": other(first)}}
    labels = body["metadata"]["labels"] | {"edge-intelligence.io/service": "faces"}
    meta = {"name": "faces.cam-1", "namespace": KEY.namespace, "labels": labels, "annotations": {}}
    world.cluster.put(body | {"metadata": meta, "spec": spec, "status": {}})
    world.cluster.report_status(
        PLACEMENTS, KEY.namespace, "faces.cam-1", {"observedGeneration": 1, "loaded": True} | far
    )
    world.triton.by_name[first].away = True
    for _ in range(5):
        world.now += 10
        world.reconcile()
    moved = world.cluster.get(PLACEMENTS, KEY.namespace, name)
    assert moved["spec"]["link"]["peer"] == other(first)
    assert moved["spec"]["link"]["roundTrip"] == "30ms"


def test_noise_of_the_links_moves_nothing(world: World) -> None:
    give_servers(world, NAMES)
    world.settle()
    first, noise = used(world), random.Random(5)
    for _ in range(60):
        measured = {
            "bandwidth": f"{4000 * noise.uniform(0.6, 1.4):.0f}k",
            "roundTrip": f"{noise.uniform(1, 20):.0f}ms",
        }
        pass_time(world, 10, link={"state": "Up"} | measured)
        assert used(world) == first


def test_the_explanation_is_of_the_server_in_use(world: World) -> None:
    world.store.profiles["slow"] = device_profile("slow", 0.5)
    give_servers(world, NAMES, cloud_a={"deviceClass": "slow"})
    pass_time(world, 60)
    for entry in world.explained().entries:
        published = world.placements()[entry.node]["spec"]["routes"]
        assert [r.name for r in entry.routes] == [r["name"] for r in published]
        assert [str(r.predicted_latency) for r in entry.routes] == [r["predictedLatency"] for r in published]


def test_the_loops_of_the_servers_note_which_respond(world: World) -> None:
    servers = give_servers(world, NAMES)
    servers.by_name["cloud-a"].away = True
    began = world.now
    for passed in (0.0, AWAY_AFTER, STEADY_AFTER):
        world.now = began + passed
        world.collect()
    availability = world.looks.loops.findings.availability
    urls = {name: server.url for name, server in servers.by_name.items()}
    assert availability.away(urls["cloud-a"], world.now)
    assert not availability.away(urls["cloud-b"], world.now)
    assert availability.steady(urls["cloud-b"], world.now)
    assert not availability.steady(urls["cloud-b"], world.now - 1)
