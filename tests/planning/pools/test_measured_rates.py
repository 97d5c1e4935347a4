"""Requests that were measured, not declared: what they change in the plan of a pool, and what never."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.pool_referee import small_pool
from edge_planning.errors import BadValueError
from edge_planning.pools import Observed, PoolDemand, PoolNode, PoolPlan, PoolProblem, PoolServer, plan_pool
from edge_planning.pools.crowding import Crowding
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger, capacities
from edge_planning.pools.relief import Relief
from edge_planning.pools.reservations import Kind, Resource
from messages import mentions

CPU = Resource(Kind.CPU, "edge-a")
seeds = st.integers(0, 10**6)
measurements = st.none() | st.builds(Observed, st.sampled_from([0.3, 4.0, 30.0, 400.0]), st.booleans())


def measured(problem: PoolProblem, *found: Observed | None) -> PoolProblem:
    """The problem with what was measured of its first demands, by name; the others declare their rates."""
    ordered = sorted(problem.demands, key=lambda one: one.name)
    some = [
        replace(one, rate=0.01, assumed=True, observed=each)
        for one, each in zip(ordered, found, strict=False)
    ]
    return replace(problem, demands=(*some, *ordered[len(some) :]))


def unmeasured(problem: PoolProblem) -> PoolProblem:
    return replace(problem, demands=tuple(replace(one, observed=None) for one in problem.demands))


def two(first: Observed | None, second: Observed | None, **other: float) -> PoolProblem:
    """Two services of one namespace at a node with a slow uplink: 50 ms for all layers, 15 ms for an exit."""
    problem = small_pool(0)
    latency, uplink, servers = other.get("latency", 1.0), other.get("uplink", 1e5), ("cloud",)
    demands = []
    for name, found in (("first", first), ("second", second)):
        one = problem.demands[0].problems[0]
        one = replace(one, slo=replace(one.slo, latency=latency), bandwidth=None)
        demands.append(PoolDemand(name, "shop", "sha256:0", (one,), 0.01, assumed=True, observed=found))
    nodes = (PoolNode("edge-a", "pi", uplink=uplink),)
    return PoolProblem(nodes, tuple(PoolServer(each) for each in servers), tuple(demands))


def exits(plan: PoolPlan, uplink: float = 1e5) -> Mapping[str, str]:
    return {name: placed.plan.table.at(uplink).name for name, placed in sorted(plan.placed.items())}


LATE = Observed(11.3, late=True)
"""Requests that keep the node busy for 57 % of its time, and are late."""


@settings(max_examples=40)
@given(seeds, st.sampled_from([0.3, 4.0, 30.0, 400.0]), st.booleans())
def test_a_service_alone_is_planned_as_if_nothing_were_measured(seed: int, rate: float, late: bool) -> None:
    problem = small_pool(seed)
    problem = measured(replace(problem, demands=problem.demands[:1]), Observed(rate, late))
    found, expected = plan_pool(problem), plan_pool(unmeasured(problem))
    assert (found.placed, found.refused) == (expected.placed, expected.refused)


@settings(max_examples=20)
@given(seeds, st.lists(measurements, min_size=2, max_size=2))
def test_a_service_that_shares_the_pool_only_with_itself_is_planned_as_if_nothing_were_measured(
    seed: int, some: list[Observed | None]
) -> None:
    problem = small_pool(seed)
    at_both_nodes = tuple(replace(problem.demands[0], problems=one.problems) for one in problem.demands[:2])
    problem = measured(replace(problem, demands=at_both_nodes), *some)
    found, expected = plan_pool(problem), plan_pool(unmeasured(problem))
    assert (found.placed, found.refused) == (expected.placed, expected.refused)


@settings(max_examples=40)
@given(seeds, st.lists(measurements, min_size=1, max_size=3))
def test_measured_requests_refuse_nothing_and_displace_no_declared_rate(
    seed: int, some: list[Observed | None]
) -> None:
    problem = measured(small_pool(seed), *some)
    found, expected = plan_pool(problem), plan_pool(unmeasured(problem))
    assert {*found.refused} == {*expected.refused}
    for one in problem.demands:
        if not one.assumed and one.name in found.placed:
            before, after = expected.placed[one.name], found.placed[one.name]
            assert (after.plan, after.server) == (before.plan, before.server)
            assert after.reservation == before.reservation


@settings(max_examples=40)
@given(seeds, st.lists(measurements, min_size=1, max_size=4))
def test_a_demand_that_is_late_or_has_less_than_alone_reports_what_is_short(
    seed: int, some: list[Observed | None]
) -> None:
    problem = measured(small_pool(seed), *some)
    plan, idle = plan_pool(problem), plan_pool(unmeasured(problem))
    for name, placed in plan.placed.items():
        before = idle.placed[name]
        worse = before.in_time and not placed.in_time
        nodes = {one.name: one.uplink for one in problem.nodes}
        uplink = nodes[next(one.node for one in problem.demands if one.name == name)]
        worse |= placed.plan.table.at(uplink).accuracy < before.plan.table.at(uplink).accuracy - 1e-9
        assert placed.short is not None or not worse


@settings(max_examples=60)
@given(seeds, st.lists(measurements, min_size=3, max_size=4))
def test_demands_move_only_if_more_are_in_time_then_and_none_is_late_that_was_in_time(
    seed: int, some: list[Observed | None]
) -> None:
    problem = measured(small_pool(seed), *some)
    found = plan_pool(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Relief, "relieve", lambda *_: None)
        unmoved = plan_pool(problem)
    before, after = ({name for name, one in plan.placed.items() if one.in_time} for plan in (unmoved, found))
    assert before <= after
    moved = {name for name, one in found.placed.items() if one.plan != unmoved.placed[name].plan}
    assert before < after or not moved


@settings(max_examples=20)
@given(seeds, st.lists(measurements, min_size=1, max_size=4))
def test_the_order_of_demands_makes_no_difference(seed: int, some: list[Observed | None]) -> None:
    problem = measured(small_pool(seed), *some)
    other = replace(problem, demands=problem.demands[::-1], nodes=problem.nodes[::-1])
    assert plan_pool(problem) == plan_pool(other)


@settings(max_examples=20)
@given(seeds, st.lists(measurements, min_size=1, max_size=4))
def test_a_plan_of_measured_requests_settles(seed: int, some: list[Observed | None]) -> None:
    problem = measured(small_pool(seed), *some)
    plan = plan_pool(problem)
    for number in range(4):
        demands = tuple(
            replace(one, server=plan.placed[one.name].server) if one.name in plan.placed else one
            for one in problem.demands
        )
        nodes = (*problem.nodes, PoolNode(f"spare-{number}", "pi"))
        plan = plan_pool(replace(problem, demands=demands, nodes=nodes), plan)
        if number >= 2:
            assert plan.moved == ()


def test_two_services_that_are_late_together_make_room_and_say_of_what_there_is_too_little() -> None:
    plan = plan_pool(two(LATE, LATE, latency=0.3))
    assert exits(plan) == {"shop/first@edge-a": "full@local", "shop/second@edge-a": "early@local"}
    assert all(placed.in_time for placed in plan.placed.values())
    short = plan.placed["shop/second@edge-a"].short
    assert short is not None
    assert short.resource == CPU
    assert short.asked == pytest.approx(0.565)
    assert mentions("cpu of edge-a", "shop/first@edge-a").search(short.message)
    assert plan.placed["shop/first@edge-a"].short is None


def test_services_whose_requests_are_in_time_keep_their_tables_however_busy_the_node_is() -> None:
    plan = plan_pool(two(Observed(11.3), Observed(11.3), latency=0.3))
    assert {*exits(plan).values()} == {"full@local"}
    assert all(placed.short is None and placed.in_time for placed in plan.placed.values())


def test_a_service_without_requests_yet_is_planned_beside_those_of_others() -> None:
    busy = plan_pool(two(Observed(11.3), None, latency=0.1))
    assert exits(busy) == {"shop/first@edge-a": "full@local", "shop/second@edge-a": "full@local"}
    second = busy.placed["shop/second@edge-a"]
    assert not second.in_time
    assert second.short is not None
    assert dict(second.short.users) == {"shop/first@edge-a": pytest.approx(0.565)}
    idle = plan_pool(two(Observed(0.3), None, latency=0.1))
    assert idle.placed["shop/second@edge-a"].in_time


def test_a_service_that_is_late_sends_its_requests_where_there_is_room() -> None:
    plan = plan_pool(two(LATE, LATE, latency=0.3, uplink=20e6))
    alone = plan_pool(two(Observed(11.3), Observed(11.3), latency=0.3, uplink=20e6))
    assert exits(plan, 20e6) == exits(alone, 20e6)
    assert all(placed.in_time for placed in plan.placed.values())


def test_a_service_returns_to_its_table_when_the_requests_of_the_other_one_end() -> None:
    before = plan_pool(two(LATE, LATE, latency=0.3))
    after = plan_pool(two(None, LATE, latency=0.3), before)
    assert {*exits(after).values()} == {"full@local"}
    assert after.moved == ("shop/second@edge-a",)
    assert after.placed["shop/second@edge-a"].short is None


def test_services_move_no_further_than_the_one_that_needs_most_leaves_necessary() -> None:
    problem = two(LATE, LATE, latency=0.3)
    one = problem.demands[0]
    rates = {"first": 20.0, "second": 4.0, "third": 4.0}
    demands = (replace(one, service=name, observed=Observed(rate, late=True)) for name, rate in rates.items())
    plan = plan_pool(replace(problem, demands=tuple(demands)))
    assert [*exits(plan).values()] == ["early@local", "full@local", "full@local"]
    assert all(placed.in_time for placed in plan.placed.values())


def test_a_service_moves_to_no_server_where_it_makes_another_service_late() -> None:
    def sends(
        name: str, node: str, rate: float, latency: float, *servers: str, late: bool = True
    ) -> PoolDemand:
        one = small_pool(0).demands[0].problems[0]
        slo = replace(one.slo, latency=latency)
        problems = tuple(replace(one, node=node, peer=peer, slo=slo, bandwidth=None) for peer in servers)
        return PoolDemand(
            name, "shop", "sha256:0", problems, 0.01, assumed=True, observed=Observed(rate, late=late)
        )

    problem = PoolProblem(
        tuple(PoolNode(name, "pi", uplink=100e6) for name in ("edge-a", "edge-b", "edge-c")),
        (PoolServer("cloud"), PoolServer("far")),
        (
            replace(sends("a", "edge-a", 100.0, 0.2, "cloud", "far"), server="cloud"),
            sends("b", "edge-b", 120.0, 0.2, "cloud", late=False),
            sends("c", "edge-c", 50.0, 0.025, "far"),
        ),
    )
    beside = plan_pool(problem)
    assert all(placed.in_time for placed in beside.placed.values())
    assert exits(beside, 100e6)["shop/a@edge-a"] == "early@image"
    without = plan_pool(replace(problem, demands=problem.demands[:2]))
    moved = without.placed["shop/a@edge-a"]
    assert (exits(without, 100e6)["shop/a@edge-a"], moved.server) == ("full@image", "far")


def test_a_service_that_no_move_helps_is_tried_again_only_when_its_places_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = two(Observed(45.3, late=True), Observed(45.3, late=True), latency=0.06)
    other = replace(problem.demands[0].problems[0], node="edge-b")
    problem = replace(
        problem,
        nodes=(*problem.nodes, PoolNode("edge-b", "pi", uplink=1e5)),
        demands=(*problem.demands, replace(problem.demands[0], problems=(other,), observed=None)),
    )
    before = plan_pool(problem)
    assert not before.placed["shop/second@edge-a"].in_time
    given_up: list[set[str]] = []
    relieve = Relief.relieve

    def noted(relief: Relief, tried: Collection[str]) -> None:
        given_up.append({*tried})
        relieve(relief, tried)

    monkeypatch.setattr(Relief, "relieve", noted)
    *near, far = problem.demands
    elsewhere = plan_pool(replace(problem, demands=(*near, replace(far, observed=Observed(4.0)))), before)
    assert elsewhere.placed["shop/second@edge-a"] == before.placed["shop/second@edge-a"]
    first, second = near
    plan_pool(replace(problem, demands=(replace(first, observed=Observed(32.0)), second, far)), before)
    assert given_up == [{"shop/first@edge-a", "shop/second@edge-a"}, set()]


def test_a_service_makes_room_for_one_that_declares_its_rate() -> None:
    problem = two(Observed(15.0), None, latency=0.2)
    first, second = problem.demands
    plan = plan_pool(replace(problem, demands=(first, replace(second, rate=5.0, assumed=False))))
    assert exits(plan) == {"shop/first@edge-a": "early@local", "shop/second@edge-a": "full@local"}
    assert plan.placed["shop/first@edge-a"].short is not None
    assert all(placed.in_time for placed in plan.placed.values())


@pytest.mark.parametrize(
    ("rates", "expected"),
    [((4.0, 4.0), (0.2, 0.2)), ((4.0, 100.0), (0.2, 0.6)), ((100.0, 100.0), (0.4, 0.4))],
)
def test_measured_requests_share_what_is_left_evenly_and_none_gets_more_than_it_wants(
    rates: tuple[float, float], expected: tuple[float, float]
) -> None:
    problem = two(*(Observed(rate) for rate in rates))
    crowding = held(problem)
    assert [*crowding.used(CPU).values()] == pytest.approx(sorted(expected, reverse=True), rel=2e-2)
    assert sum(crowding.used(CPU).values()) <= 0.8 + 1e-9


def test_measured_requests_get_only_what_reservations_leave() -> None:
    problem = two(Observed(100.0), None)
    first, second = problem.demands
    declared = replace(second, rate=10.0, assumed=False)
    crowding = held(replace(problem, demands=(first, declared)))
    assert crowding.used(CPU) == {declared.name: pytest.approx(0.5), first.name: pytest.approx(0.3)}
    assert crowding.short(first.name) == CPU
    assert crowding.short(declared.name) is None


def held(problem: PoolProblem) -> Crowding:
    """The requests of a pool whose demands have the tables that they would have alone."""
    capacity = capacities(problem, 0.8)
    ledger = Ledger(problem, capacity)
    for one in problem.demands:
        alone = plan_pool(replace(problem, demands=(one,)))
        ledger.add(Held(one, alone.placed[one.name].reservation))
    return Crowding(problem, ledger, capacity)


def test_a_measured_rate_beside_a_declared_one_is_rejected() -> None:
    one = two(None, None).demands[0]
    with pytest.raises(BadValueError, match=mentions("shop/first@edge-a", "measured rate", "assumed")):
        replace(one, assumed=False, observed=LATE)
    with pytest.raises(BadValueError, match=mentions("observed rate", "0.0")):
        Observed(0.0)
