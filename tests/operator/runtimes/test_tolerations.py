"""Runtimes tolerate what their node's pool declares, and are replaced for it only where that matters."""

import dataclasses
from typing import Any

import pytest

from edge_operator.cluster import DEPLOYMENTS, NODES
from edge_operator.nodes.tolerations import ALWAYS, suffices, tolerates
from operator_objects import rolled_out

World = Any  # tests/operator/conftest.py
TAINT = {"key": "reserved", "value": "cameras", "effect": "NoSchedule"}
NO_SCHEDULE = {"key": "reserved", "operator": "Equal", "value": "cameras", "effect": "NoSchedule"}
NO_EXECUTE = {"key": "drained", "operator": "Exists", "effect": "NoExecute"}
EVERY_EFFECT = {"key": "reserved", "operator": "Exists"}


def declare(world: World, *tolerations: dict[str, Any], pool: str = "factory") -> None:
    """The tolerations of the group of cameras, as a user would write them."""
    body = world.pool()
    body["metadata"]["name"] = pool
    body["spec"]["nodes"][1]["tolerations"] = list(tolerations)
    world.cluster.put(body)


def taint(world: World, node: str, *taints: dict[str, str]) -> None:
    body = world.cluster.get(NODES, None, node)
    world.cluster.put(body | {"spec": {**(body.get("spec") or {}), "taints": list(taints)}})


def roll_out(world: World) -> None:
    """New versions reach all nodes, one after the other, each after a time."""
    for _ in range(3 * len(world.cluster.find(DEPLOYMENTS))):
        for body in world.cluster.find(DEPLOYMENTS):
            world.cluster.put(rolled_out(body))
        world.reconcile()
        world.now += 60


def templates(world: World) -> dict[str, Any]:
    """What the pods are made of, by Deployment."""
    return {body["metadata"]["name"]: body["spec"]["template"] for body in world.cluster.find(DEPLOYMENTS)}


def tolerated(world: World) -> dict[str, list[dict[str, Any]]]:
    """What the runtimes tolerate beyond a node that is away, by node."""
    return {
        body["metadata"]["name"].removeprefix("edge-runtime-"): [
            each for each in body["spec"]["template"]["spec"]["tolerations"] if each not in ALWAYS
        ]
        for body in world.cluster.find(DEPLOYMENTS)
    }


def test_runtimes_tolerate_the_taints_that_their_group_declares(world: World) -> None:
    declare(world, NO_SCHEDULE)
    world.settle()
    assert tolerated(world) == {"cam-1": [NO_SCHEDULE], "cam-2": [NO_SCHEDULE], "gate": []}


def test_a_toleration_that_concerns_no_taint_of_the_node_replaces_no_pod(world: World) -> None:
    world.settle()
    before = templates(world)
    declare(world, NO_SCHEDULE)
    roll_out(world)
    assert templates(world) == before
    declare(world)
    roll_out(world)
    assert templates(world) == before


def test_a_runtime_gets_the_toleration_once_its_node_has_the_taint(world: World) -> None:
    world.settle()
    declare(world, NO_SCHEDULE)
    world.reconcile()
    taint(world, "cam-2", TAINT)
    roll_out(world)
    assert tolerated(world) == {"cam-1": [], "cam-2": [NO_SCHEDULE], "gate": []}


def test_a_toleration_against_evictions_is_there_before_the_taint(world: World) -> None:
    world.settle()
    declare(world, NO_EXECUTE)
    roll_out(world)
    assert tolerated(world) == {"cam-1": [NO_EXECUTE], "cam-2": [NO_EXECUTE], "gate": []}


def test_a_toleration_that_a_pool_gives_up_ends_no_pod_and_goes_with_the_next_version(world: World) -> None:
    declare(world, NO_EXECUTE)
    world.settle()
    before = templates(world)
    declare(world)
    roll_out(world)
    assert templates(world) == before
    world.settings = dataclasses.replace(world.settings, runtime_image="edge-runtime:next")
    roll_out(world)
    assert tolerated(world) == {"cam-1": [], "cam-2": [], "gate": []}


def test_tolerations_of_a_pool_that_does_not_have_the_node_are_not_those_of_its_runtimes(
    world: World,
) -> None:
    world.settle()
    before = templates(world)
    declare(world, NO_EXECUTE, pool="younger")
    roll_out(world)
    assert templates(world) == before


@pytest.mark.parametrize(
    ("toleration", "matches"),
    [
        (NO_SCHEDULE, True),
        (EVERY_EFFECT, True),
        ({"operator": "Exists"}, True),
        ({"key": "reserved", "value": "cameras"}, True),
        ({"key": "reserved"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "reserved", "operator": "Exists", "effect": "NoExecute"}, False),
        ({**NO_SCHEDULE, "value": "robots"}, False),
        ({"value": "cameras"}, False),
    ],
)
def test_a_toleration_matches_a_taint_as_in_kubernetes(toleration: dict[str, Any], matches: bool) -> None:
    assert tolerates(toleration, TAINT) is matches


@pytest.mark.parametrize(
    ("live", "wanted", "taints", "enough"),
    [
        ([], [], [TAINT], True),
        ([], [NO_SCHEDULE], [], True),
        ([], [NO_SCHEDULE], [TAINT], False),
        ([EVERY_EFFECT], [NO_SCHEDULE], [TAINT], True),
        ([], [EVERY_EFFECT], [], False),
        ([], [NO_EXECUTE], [], False),
        ([NO_EXECUTE], [], [], True),
        (
            [],
            [{**NO_SCHEDULE, "effect": "PreferNoSchedule"}],
            [{**TAINT, "effect": "PreferNoSchedule"}],
            True,
        ),
    ],
)
def test_a_pod_is_kept_if_its_tolerations_do_what_the_wanted_ones_do(
    live: list[Any], wanted: list[Any], taints: list[Any], enough: bool
) -> None:
    assert suffices(live, wanted, taints) is enough
