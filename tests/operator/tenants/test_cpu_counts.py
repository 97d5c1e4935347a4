"""The processors of a node are divided between namespaces by what the plan counts for their services."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_api.tenants import DEFAULT
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS
from edge_operator.nodes.runtimes import Runtime
from edge_operator.pool import plans
from edge_operator.pool.cpu_weights import COUNTED, divided, runtime_weights
from edge_operator.pool.demands import NO_PLAN
from edge_planning.sharing import MoveBudget

World = Any  # tests/operator/conftest.py
WEIGHT = "edge-intelligence.io/cpu-weight"
FULL = 0.12
"""Seconds of the full model at a camera."""

reserved_parts = st.floats(0.0, 0.6)
divisions = st.dictionaries(st.sampled_from("abcdef"), reserved_parts, min_size=1)


def local_service(
    world: World, namespace: str, rate: float, *, name: str = "local", node: str = "cam-1", **spec: Any
) -> None:
    """A service that computes the full model at a camera."""
    world.add_namespace(
        namespace,
        name=name,
        mode="LocalOnly",
        entryNodes={"nodeSelector": {"kubernetes.io/hostname": node}},
        slo={"latency": "1m"},
        load={"rate": rate} if rate else None,
        **spec,
    )


def noted(world: World, node: str = "cam-1") -> dict[str, str]:
    """The weights of the runtimes at a node, by namespace."""
    found = {}
    for (kind, namespace, _), body in world.cluster.objects.items():
        if kind == "Placement" and body["spec"]["node"] == node:
            found[namespace] = body["metadata"]["annotations"].get(WEIGHT, "1")
    return found


def written(world: World) -> list[str]:
    """The writes of Placements and pods."""
    return [line for line in world.log if line.startswith(("resize", "apply Placement"))]


@pytest.fixture
def shared(world: World) -> World:
    """Two namespaces at a camera of which the plan counts 72 % and 6 %, without Tenants."""
    world.cluster.delete(INFERENCE_SERVICES, "default", "digits")
    local_service(world, "default", 6.0, name="digits")
    local_service(world, "lab-1", 0.5)
    world.settle()
    world.start_pods()
    world.reconcile()
    return world


def test_namespaces_without_tenants_have_what_the_plan_counts_and_an_even_part_of_the_rest(
    shared: World,
) -> None:
    rest = 1 - 6.0 * FULL - 0.5 * FULL
    own, other = (2 * (rate * FULL + rest / 2) for rate in (6.0, 0.5))
    assert noted(shared) == {"default": f"{own:.3g}", "lab-1": f"{other:.3g}"}
    (pod,) = [body for (kind, *_), body in shared.cluster.objects.items() if kind == "Pod"]
    assert pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] == f"{50 * own:.0f}m"


def test_nothing_is_written_while_counts_change_little_or_the_operator_restarts(shared: World) -> None:
    before, runtimes = written(shared), noted(shared)
    shared.reconcile()
    shared.restart()
    shared.reconcile()
    assert written(shared) == before
    local_service(shared, "lab-1", 0.8)
    shared.reconcile()
    assert noted(shared) == runtimes
    assert not [line for line in written(shared)[len(before) :] if line.startswith("resize")]


def test_clearly_other_counts_change_the_weights(shared: World) -> None:
    local_service(shared, "lab-1", 2.0)
    shared.reconcile()
    assert noted(shared) == {"default": "1.4", "lab-1": "0.6"}


def test_a_service_that_joins_or_leaves_a_node_changes_the_weights_there(shared: World) -> None:
    local_service(shared, "lab-2", 0.5)
    shared.reconcile()
    assert sum(map(float, noted(shared).values())) == pytest.approx(3, abs=0.02)
    for namespace in ("lab-1", "lab-2"):
        shared.cluster.delete(INFERENCE_SERVICES, namespace, "local")
        (placement,) = shared.cluster.find(PLACEMENTS, namespace)
        shared.cluster.delete(PLACEMENTS, namespace, placement["metadata"]["name"])
    shared.reconcile()
    assert noted(shared) == {"default": "1"}


def test_the_namespaces_of_a_tenant_divide_its_part_by_the_plan(shared: World) -> None:
    local_service(shared, "lab-2", 0.5)
    for name in ("default", "lab-1"):
        shared.label_namespace(name=name)
    shared.put_tenant(fairSharing={"weight": 3})
    shared.reconcile()
    weights = {namespace: float(weight) for namespace, weight in noted(shared).items()}
    assert weights["lab-2"] == pytest.approx(3 / 4)
    assert weights["default"] + weights["lab-1"] == pytest.approx(9 / 4, abs=0.02)
    assert weights["default"] > 2 * weights["lab-1"]


def test_weights_stay_while_a_service_at_the_node_cannot_be_planned(shared: World) -> None:
    before = noted(shared)
    local_service(shared, "lab-1", 0.5, privacy="secret")
    shared.restart()
    local_service(shared, "default", 0.5, name="digits")
    shared.reconcile()
    assert noted(shared) == before
    local_service(shared, "lab-1", 0.5)
    shared.reconcile()
    assert noted(shared) == {"default": "1", "lab-1": "1"}


def test_nodes_beyond_the_budget_follow_new_counts_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = plans.Joint(None, NO_PLAN, {}, weighing=MoveBudget(1.0))
    monkeypatch.setattr(plans, "_ALONE", alone)
    world.cluster.delete(INFERENCE_SERVICES, "default", "digits")
    for node in ("cam-1", "cam-2"):
        local_service(world, "default", 0.5, name=f"own-{node}", node=node)
        local_service(world, "lab-1", 0.5, name=f"other-{node}", node=node)
    world.plan()
    for node in ("cam-1", "cam-2"):
        local_service(world, "default", 6.0, name=f"own-{node}", node=node)
    world.plan()
    even = {"default": "1", "lab-1": "1"}
    assert noted(world) != even == noted(world, "cam-2")
    (loop,) = world.loops.values()
    assert loop.plan.again_at == world.now + plans.REFILL
    world.now += 30
    world.plan()
    assert noted(world, "cam-2") == even
    world.now += 30
    world.plan()
    assert noted(world, "cam-2") == noted(world)


def test_measured_requests_change_no_weights(world: World) -> None:
    world.cluster.delete(INFERENCE_SERVICES, "default", "digits")
    for namespace, name in (("default", "digits"), ("lab-1", "local")):
        local_service(world, namespace, 0.0, name=name)
    world.settle()
    for total in (400, 4000):
        world.requests_arrive(total, total)
        world.now += 60
        world.reconcile()
    assert noted(world) == {"default": "1", "lab-1": "1"}


@given(divisions, st.floats(0.0, 1.0))
def test_a_part_is_divided_whole_and_nothing_starves(counts: Mapping[str, float], part: float) -> None:
    found = divided(part, counts)
    assert sum(found.values()) == pytest.approx(part)
    assert all(amount >= (1 - COUNTED) * part / len(counts) - 1e-9 for amount in found.values())


@given(divisions)
def test_each_has_what_is_reserved_for_it_as_far_as_the_node_suffices(counts: Mapping[str, float]) -> None:
    found, total = divided(1.0, counts), sum(counts.values())
    for name, reserved in counts.items():
        assert found[name] >= reserved * min(COUNTED / max(total, 1e-9), 1.0) - 1e-9


@given(divisions)
def test_a_larger_reservation_has_a_larger_part(counts: Mapping[str, float]) -> None:
    found = divided(1.0, counts)
    ordered = sorted(counts, key=lambda name: counts[name])
    assert all(found[one] <= found[other] + 1e-9 for one, other in pairwise(ordered))


@given(st.lists(reserved_parts, min_size=1, max_size=4), reserved_parts, st.booleans())
def test_splitting_a_namespace_into_dedicated_runtimes_wins_nothing(
    parts: list[float], other: float, tenants: bool
) -> None:
    """Weights are 1 on average over the node, which then has more runtimes."""

    def part(own: list[float]) -> float:
        named = {Runtime("a", "cam-1", f"s{number}" if number else ""): one for number, one in enumerate(own)}
        nominal = {"a": 0.3, "b": 0.6} if tenants else {}
        found = runtime_weights(
            {**named, Runtime("b", "cam-1"): other}, nominal, str if tenants else lambda _: DEFAULT
        )
        return sum(found[one] for one in named) / len(found)

    assert part(parts) == pytest.approx(part([sum(parts)]))
