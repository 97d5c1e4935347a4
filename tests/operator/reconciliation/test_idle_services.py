"""Services without requests: what their Placements say, which tails go and come back, and the status."""

from typing import Any

from edge_api import reasons
from edge_api.placements import Placement
from edge_operator.cluster import PLACEMENTS
from edge_operator.tritons.unused_tails import GRACE
from messages import mentions
from operator_objects import KEY

World = Any  # tests/operator/conftest.py


def _idle_after(world: World, after: str = "1m") -> None:
    world.change(scaling={"idleAfter": after})
    world.settle()


def _report(world: World, *nodes: str, **status: Any) -> None:
    """The runtimes at some nodes report; the others as before."""
    for node, body in world.placements().items():
        if node in nodes:
            name = body["metadata"]["name"]
            world.cluster.report_status(PLACEMENTS, KEY.namespace, name, body["status"] | status)
    world.now += 10
    world.reconcile()


def _collect(world: World) -> None:
    world.collect()
    world.now += GRACE
    world.collect()


def _events(world: World) -> list[tuple[str, str]]:
    return [(kind, reason) for kind, reason, _ in world.cluster.events if reason.startswith("Sessions")]


def test_a_placement_says_when_to_let_go_and_how_much_idle_services_can_keep(world: World) -> None:
    world.settle()
    assert all("idle" not in body["spec"] for body in world.placements().values())
    _idle_after(world)
    assert all(
        body["spec"]["idle"] == {"after": "1m0s", "memory": "0"} for body in world.placements().values()
    )
    pool = world.pool()
    for group in pool["spec"]["nodes"]:
        group["idleMemory"] = "64Mi"
    world.cluster.put(pool)
    world.settle()
    placed = [Placement.model_validate(body) for body in world.placements().values()]
    assert {each.spec.idle.memory for each in placed if each.spec.idle} == {64 << 20}


def test_tails_go_once_every_entry_node_is_idle_and_return_with_the_first_request(world: World) -> None:
    _idle_after(world)
    tails, nodes = set(world.triton.models), sorted(world.placements())
    assert tails
    _report(world, *nodes[1:], idle=True)
    _collect(world)
    assert world.triton.models == {
        stage["model"]
        for route in world.placements()[nodes[0]]["spec"]["routes"]
        for stage in route["stages"]
        if stage["runtime"] == "Triton"
    }
    tables = {node: body["spec"] for node, body in world.placements().items()}
    _report(world, *nodes, idle=True)
    _collect(world)
    assert world.triton.models == set()
    world.reconcile()
    assert world.triton.models == set(), "a plan does not load what no entry node needs"
    assert world.condition(reasons.PLACED)["status"] == "True"
    assert {node: body["spec"] for node, body in world.placements().items()} == tables
    _report(world, nodes[-1], idle=None)
    assert world.triton.models
    _report(world, *nodes, idle=None)
    assert world.triton.models == tails


def test_a_changed_table_has_its_tails_loaded_before_it_is_published_to_an_idle_node(world: World) -> None:
    _idle_after(world)
    nodes = sorted(world.placements())
    _report(world, *nodes, idle=True)
    _collect(world)
    assert world.triton.models == set()
    world.change(scaling={"idleAfter": "2m"})
    world.reconcile()
    assert world.triton.models
    assert all(
        body["spec"]["idle"] == {"after": "2m0s", "memory": "0"} for body in world.placements().values()
    )


def test_a_report_by_an_earlier_table_does_not_count_as_idle(world: World) -> None:
    _idle_after(world)
    nodes = sorted(world.placements())
    _report(world, *nodes, idle=True, observedGeneration=0)
    _collect(world)
    assert world.triton.models
    assert world.condition(reasons.IDLE)["status"] == "False"


def test_the_condition_says_where_the_model_is_loaded_and_leaves_the_others_as_they_are(world: World) -> None:
    world.settle()
    assert reasons.IDLE not in {each["type"] for each in world.service()["status"]["conditions"]}
    _idle_after(world)
    nodes = sorted(world.placements())
    before = {each["type"]: each["status"] for each in world.service()["status"]["conditions"]}
    assert (before[reasons.IDLE], _events(world)) == ("False", [])
    _report(world, nodes[0], idle=True)
    condition = world.condition(reasons.IDLE)
    assert (condition["status"], condition["reason"]) == ("False", reasons.SESSIONS_LOADED)
    assert condition["message"] == (
        f"loaded at {len(nodes) - 1} of {len(nodes)} entry nodes; let go at {nodes[0]}"
    )
    _report(world, *nodes, idle=True, loadTime="250ms")
    condition = world.condition(reasons.IDLE)
    assert (condition["status"], condition["reason"]) == ("True", reasons.SESSIONS_RELEASED)
    assert mentions("1m0s", *nodes, "250ms").search(condition["message"])
    now = {each["type"]: each["status"] for each in world.service()["status"]["conditions"]}
    assert now == before | {reasons.IDLE: "True"}
    _report(world, *nodes, idle=None)
    assert _events(world) == [
        ("Normal", reasons.SESSIONS_RELEASED),
        ("Normal", reasons.SESSIONS_LOADED),
    ]


def test_without_the_field_the_condition_goes(world: World) -> None:
    _idle_after(world)
    world.change(scaling=None)
    world.settle()
    assert reasons.IDLE not in {each["type"] for each in world.service()["status"]["conditions"]}
