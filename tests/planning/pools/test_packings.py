"""Packed weights in the plan of a pool: used while memory allows, given up before a demand is."""

from dataclasses import replace
from itertools import pairwise

import pytest

from edge_planning import ClassProfile, Cut, EntryProblem, Exit, IntermediateNode, Model, Slo, Timing
from edge_planning.costs.packing import Packing
from edge_planning.errors import BadProfileError
from edge_planning.pools import PoolDemand, PoolNode, PoolPlan, PoolProblem, PoolServer, plan_pool
from edge_planning.pools.packings import packings
from edge_planning.pools.reservations import Kind, Resource

MB = 1e6
NAMES = ("image", "pool1", "pool2", "logits")
CUTS = tuple(Cut(name, 20_000) for name in NAMES[:3])
FULL, EARLY = Exit("full", "logits", 0.95, CUTS), Exit("early", "early_logits", 0.8, CUTS[:2])
SEGMENTS = (*pairwise(NAMES), ("pool1", "early_logits"))
MODEL = Model("digits", (EARLY, FULL), memory=dict.fromkeys(SEGMENTS, 10 * MB))
MEASURED = Packing(slowdown=1.2, packed=2.0, unpacked=1.0)
HOME = Resource(Kind.MEMORY, "edge-a")


def profile(packing: Packing | None = MEASURED, seconds: float = 0.01) -> ClassProfile:
    return ClassProfile("pi", dict.fromkeys(SEGMENTS, Timing(seconds, seconds)), packing=packing)


def problem(
    latency: float = 1.0, packing: Packing | None = MEASURED, near: ClassProfile | None = None
) -> EntryProblem:
    between = () if near is None else (IntermediateNode("edge-b", near, 1e9),)
    entry = profile(packing)
    return EntryProblem(MODEL, entry, None, 0.0, Slo(latency), node="edge-a", intermediates=between)


def demand(service: str, one: EntryProblem | None = None, **other: object) -> PoolDemand:
    problems = packings(one or problem())
    made = PoolDemand(service, "shop", f"sha256:{service}", problems, 1.0)
    return replace(made, **other)  # type: ignore[arg-type]


def pool(*demands: PoolDemand, memory: float, near: float = 1e9) -> PoolProblem:
    names = {each.name for one in demands for each in one.problems[0].intermediates}
    nodes = [PoolNode("edge-a", "pi", memory=memory * MB)]
    nodes += [PoolNode(name, "pi", memory=near * MB) for name in sorted(names)]
    return PoolProblem(tuple(nodes), (PoolServer("cloud"),), demands)


def packed(plan: PoolPlan, service: str) -> bool | None:
    """Whether the table of a service packs the weights at its entry node: one choice for all routes."""
    (found,) = {route.packed for route in plan.placed[f"shop/{service}@edge-a"].plan.table.routes}
    return found


def best(plan: PoolPlan, service: str) -> str:
    return plan.placed[f"shop/{service}@edge-a"].plan.table.routes[0].name


def test_weights_are_packed_where_the_node_has_the_memory() -> None:
    plan = plan_pool(pool(demand("a"), memory=200))
    (placed,) = plan.placed.values()
    assert packed(plan, "a") is True
    assert placed.plan.table.routes[0].head == pytest.approx(0.03)
    # The full model and the early exit of the ladder, two bytes for each.
    assert plan.used[HOME] == pytest.approx(2 * (30 + 20) * MB)


def test_a_node_with_little_memory_keeps_the_full_model_without_packing() -> None:
    plan = plan_pool(pool(demand("a"), memory=55))
    assert packed(plan, "a") is False
    assert best(plan, "a") == "full@local"
    (placed,) = plan.placed.values()
    assert placed.short is None, "the service has the accuracy that it would have alone"
    assert placed.plan.table.routes[0].head == pytest.approx(0.03 * 1.2)
    assert plan.used[HOME] <= 55 * MB


def test_without_the_choice_the_same_node_steps_down() -> None:
    both = replace(MEASURED, unpacked=2.0)
    plan = plan_pool(pool(demand("a", problem(packing=both)), memory=55))
    assert best(plan, "a") == "early@local"


def test_weights_stay_packed_where_the_slower_runs_would_be_late() -> None:
    late = demand("a", problem(latency=0.033))  # packed 0.030 s, unpacked 0.036 s
    assert best(plan_pool(pool(late, memory=200)), "a") == "full@local"
    plan = plan_pool(pool(late, memory=55))
    assert best(plan, "a") == "early@local"


def test_one_service_gives_up_packing_so_that_another_one_is_not_refused() -> None:
    one, other = demand("a", priority=10), demand("b")
    plan = plan_pool(pool(one, other, memory=155))
    assert not plan.refused
    assert {best(plan, "a"), best(plan, "b")} == {"full@local"}
    assert (packed(plan, "a"), packed(plan, "b")) == (True, False), "the first by priority packs"
    assert plan.used[HOME] <= 155 * MB


def test_weights_are_packed_again_once_memory_is_free() -> None:
    one, other = demand("a", priority=10), demand("b")
    before = plan_pool(pool(one, other, memory=155))
    after = plan_pool(pool(other, memory=155), before)
    assert packed(after, "b") is True
    assert after.moved == ("shop/b@edge-a",)


def test_a_table_stays_as_it_is_while_nothing_changes() -> None:
    problems = pool(demand("a", priority=10), demand("b"), memory=155)
    before = plan_pool(problems)
    again = plan_pool(replace(problems, demands=tuple(reversed(problems.demands))), before)
    assert again.moved == ()


def test_the_same_slice_is_in_memory_twice_if_only_one_service_packs_it() -> None:
    one, other = demand("a"), demand("b", digest="sha256:a")
    shared = plan_pool(pool(one, other, memory=105))
    assert packed(shared, "a") is packed(shared, "b") is True
    assert shared.used[HOME] == pytest.approx(100 * MB), "each slice once for both"


def test_an_intermediate_node_packs_or_not_whatever_the_entry_node_does() -> None:
    fast = profile(seconds=0.001)
    asking = demand("a", problem(latency=0.02, near=fast))
    assert len(asking.problems) == 4
    (roomy,) = plan_pool(pool(asking, memory=500, near=500)).placed.values()
    (tight,) = plan_pool(pool(asking, memory=500, near=35)).placed.values()
    for placed, wanted in ((roomy, True), (tight, False)):
        route = next(one for one in placed.plan.table.routes if one.intermediate)
        assert (route.exit, route.intermediate_packed) == ("full", wanted)
        local = placed.plan.table.routes[-1]
        assert (local.cut, local.packed) == (None, True)


def test_nothing_is_to_be_chosen_without_a_measurement_or_a_saving() -> None:
    assert len(packings(problem(packing=None))) == 1
    assert len(packings(problem(packing=replace(MEASURED, unpacked=2.0)))) == 1
    assert packed(plan_pool(pool(demand("a", problem(packing=None)), memory=200)), "a") is None


@pytest.mark.parametrize(("field", "value"), [("slowdown", 0.9), ("packed", 0.0), ("unpacked", float("inf"))])
def test_impossible_measurements_are_refused(field: str, value: float) -> None:
    with pytest.raises(BadProfileError, match=field):
        replace(MEASURED, **{field: value})
