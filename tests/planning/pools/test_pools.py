"""Plans of whole pools: capacities, entitlements, stability, and what binds a refused demand."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import (
    ClassProfile,
    Cut,
    EntryProblem,
    Exit,
    Infeasible,
    Load,
    Model,
    Plan,
    Slo,
    Timing,
    plan_entry,
)
from edge_planning.choosing.candidates import Candidates
from edge_planning.choosing.entries import plan_of
from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.errors import BadValueError
from edge_planning.pools import (
    Isolation,
    PoolDemand,
    PoolNode,
    PoolPlan,
    PoolProblem,
    PoolServer,
    plan_pool,
)
from edge_planning.pools.reservations import Kind, Resource
from edge_planning.sharing import Tenant

MB = 1e6
CUTS = (Cut("image", 20_000), Cut("pool1", 8_000), Cut("pool2", 2_000))
NAMES = ("image", "pool1", "pool2", "logits")
SECONDS = (0.01, 0.01, 0.03)
EARLY = Exit("early", "early_logits", 0.8, CUTS[:2])
FULL = Exit("full", "logits", 0.95, CUTS)
SEGMENTS = dict(zip(pairwise(NAMES), SECONDS, strict=True)) | {("pool1", "early_logits"): 0.005}
MODEL = Model("digits", (EARLY, FULL), memory=dict.fromkeys(SEGMENTS, 10 * MB))


def profile(factor: float) -> ClassProfile:
    return ClassProfile(
        f"class-{factor:g}", {pair: Timing(s * factor, s * factor) for pair, s in SEGMENTS.items()}
    )


DEVICE, SERVER = profile(1.0), profile(0.1)


def demand(
    service: str,
    node: str = "edge-a",
    *,
    tenant: str = "shop",
    rate: float = 1.0,
    latency: float = 0.2,
    servers: tuple[str, ...] = ("cloud",),
    **other: object,
) -> PoolDemand:
    problems = tuple(
        EntryProblem(MODEL, DEVICE, SERVER, 0.001, Slo(latency), node=node, peer=peer) for peer in servers
    )
    return replace(PoolDemand(service, tenant, "sha256:digits", problems, rate), **other)  # type: ignore[arg-type]


def pool(*demands: PoolDemand, servers: tuple[str, ...] = ("cloud",), **other: object) -> PoolProblem:
    made = PoolProblem(
        tuple(PoolNode(name, "pi", uplink=20e6) for name in sorted({one.node for one in demands})),
        tuple(PoolServer(name) for name in servers),
        demands,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def alone(one: PoolDemand) -> Plan | Infeasible:
    load = Load(rate=one.rate)
    return plan_entry(replace(one.problems[0], load=load, remote_load=load))


services = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "e", "f"]),
    st.sampled_from(["edge-a", "edge-b"]),
    st.sampled_from(["shop", "bank"]),
    st.sampled_from([0.5, 4.0, 12.0, 30.0]),
    st.sampled_from([0.03, 0.06, 0.2]),
    st.sampled_from([50, 100]),
)


@st.composite
def pools(draw: st.DrawFn) -> PoolProblem:
    found = draw(st.lists(services, min_size=1, max_size=7, unique_by=lambda one: one[:3]))
    demands = [
        demand(service, node, tenant=tenant, rate=rate, latency=latency, priority=priority)
        for service, node, tenant, rate, latency, priority in found
    ]
    nodes = tuple(
        PoolNode(
            name,
            "pi",
            cpu=draw(st.sampled_from([0.1, 0.5, 1.0])),
            memory=draw(st.sampled_from([90 * MB, 200 * MB])),
            uplink=draw(st.sampled_from([0.2e6, 2e6, 50e6])),
        )
        for name in ("edge-a", "edge-b")
    )
    server = PoolServer("cloud", draw(st.sampled_from([25 * MB, 200 * MB])), draw(st.sampled_from([1, 2])))
    tenants = (Tenant("bank"), Tenant("shop", draw(st.sampled_from([1.0, 3.0]))))
    return PoolProblem(nodes, (server,), tuple(demands), tenants, 30 * MB)


def capacity(problem: PoolProblem, resource: Resource) -> float:
    servers = {one.name: one for one in problem.servers}
    if resource.place in servers:
        server = servers[resource.place]
        return server.memory if resource.kind is Kind.MEMORY else server.concurrency
    node = next(one for one in problem.nodes if one.name == resource.place)
    return {Kind.CPU: node.cpu, Kind.MEMORY: node.memory, Kind.UPLINK: node.uplink * UPLINK_SHARE}[
        resource.kind
    ]


@settings(max_examples=25)
@given(pools())
def test_a_plan_never_uses_more_than_there_is_and_answers_every_demand(problem: PoolProblem) -> None:
    plan = plan_pool(problem)
    for resource, used in plan.used.items():
        assert used <= capacity(problem, resource) * (1 + 1e-6)
    assert {*plan.placed, *plan.refused} == {one.name for one in problem.demands}
    assert not {*plan.placed} & {*plan.refused}


@settings(max_examples=12)
@given(pools(), st.integers(0, 9))
def test_planning_again_changes_nothing_and_the_order_does_not_matter(
    problem: PoolProblem, turn: int
) -> None:
    plan = plan_pool(problem)
    shuffled = (*problem.demands[turn:], *problem.demands[:turn])[::-1]
    other = plan_pool(replace(problem, demands=shuffled, nodes=problem.nodes[::-1]))
    again = plan_pool(problem, plan)
    for one in (other, again):
        assert (one.placed, one.refused, one.used) == (plan.placed, plan.refused, plan.used)
    assert again.moved == ()


def test_with_ample_room_and_nothing_shared_a_table_is_that_of_the_entry_alone() -> None:
    demands = [demand("a", "edge-a", latency=0.05), demand("b", "edge-b", servers=("other",))]
    plan = plan_pool(pool(*demands, servers=("cloud", "other")))
    for one in demands:
        assert plan.placed[one.name].plan == alone(one)
    assert not plan.contended


def test_others_requests_make_a_service_use_an_earlier_exit_or_another_place() -> None:
    slow = replace(demand("a").problems[0], remote=None, slo=Slo(0.06))
    one = replace(demand("a", rate=1.0), problems=(slow,))
    lonely = plan_pool(pool(one)).placed[one.name].plan.table.routes[0]
    noisy = [
        replace(demand(f"n{n}", rate=8.0), problems=(replace(slow, slo=Slo(5.0)),), priority=200)
        for n in "12"
    ]
    crowded = plan_pool(pool(one, *noisy)).placed[one.name].plan.table.routes[0]
    assert (lonely.exit, crowded.exit) == ("full", "early")


def test_a_refusal_names_what_binds_how_much_is_left_and_who_uses_it() -> None:
    local = replace(demand("a").problems[0], remote=None)
    first, second = (
        replace(demand(name, rate=50.0, priority=priority), problems=(local,))
        for name, priority in (("a", 200), ("b", 100))
    )
    plan = plan_pool(pool(first, second))
    refusal = plan.refused[second.name]
    assert refusal.resource == Resource(Kind.CPU, "edge-a")
    assert dict(refusal.users) == {first.name: pytest.approx(0.75)}
    assert refusal.asked == pytest.approx(50 * 0.015)
    assert refusal.left < refusal.asked
    assert refusal.room.rate == pytest.approx(16.6)
    assert refusal.room.remove == ()
    assert "requests/s" in refusal.message


def test_a_slice_and_a_runtime_count_once_for_a_namespace_and_a_tail_once_for_all() -> None:
    node, cloud = Resource(Kind.MEMORY, "edge-a"), Resource(Kind.MEMORY, "cloud")

    def used(*demands: PoolDemand) -> tuple[float, float]:
        plan = plan_pool(pool(*demands, runtime_memory=100 * MB))
        return plan.used[node], plan.used.get(cloud, 0.0)

    first = used(demand("a"))
    assert used(demand("a"), demand("b")) == first
    other = used(demand("a"), demand("a", tenant="bank"))
    assert other == (2 * first[0], first[1])
    dedicated = used(demand("a"), demand("b", isolation=Isolation.DEDICATED))
    assert dedicated == (2 * first[0], first[1])


def test_a_new_service_moves_no_other() -> None:
    before = plan_pool(pool(demand("a"), demand("b", "edge-b")))
    after = plan_pool(pool(demand("a"), demand("b", "edge-b"), demand("c")), before)
    assert after.moved == ()
    assert after.placed["shop/a@edge-a"] == before.placed["shop/a@edge-a"]


def test_a_lost_server_moves_only_the_demands_that_used_it() -> None:
    both = ("cloud", "other")
    near = demand("a", latency=0.05, servers=("cloud", "other"), server="cloud")
    far = demand("b", latency=0.05, servers=("cloud", "other"), server="other")
    before: PoolPlan = plan_pool(pool(near, far, servers=both))
    assert before.placed[near.name].server == "cloud"
    left = [replace(one, problems=one.problems[1:], server=None) for one in (near, far)]
    after = plan_pool(pool(*left, servers=both[1:]), before)
    assert {one.server for one in after.placed.values()} <= {"other", None}


def test_an_impossible_service_is_refused_with_the_reasons_of_its_entry() -> None:
    hopeless = demand("a", latency=0.0001)
    hopeless = replace(hopeless, problems=(replace(hopeless.problems[0], min_accuracy=0.9),))
    plan = plan_pool(pool(hopeless, demand("b")))
    refusal = plan.refused[hopeless.name]
    assert refusal.resource is None
    assert refusal.infeasible is not None
    assert "edge-a" in refusal.message
    assert not plan.contended


def test_unknown_places_and_repeated_names_are_rejected() -> None:
    with pytest.raises(BadValueError, match="unknown Triton server"):
        pool(demand("a", servers=("nowhere",)))
    with pytest.raises(BadValueError, match="listed twice"):
        pool(demand("a"), demand("a"))


@pytest.mark.parametrize("tenant", [Tenant("shop", 0.0), Tenant("shop", priority_ceiling=0)])
def test_tenants_that_only_entitlements_can_plan_are_rejected(tenant: Tenant) -> None:
    with pytest.raises(BadValueError, match="tenant shop: "):
        replace(pool(demand("a")), tenants=(tenant,))


def test_a_pool_with_room_and_assumed_rates_has_the_tables_of_plan_entry() -> None:
    demands = [
        demand(service, node, tenant=tenant, latency=latency, rate=0.1, assumed=True)
        for service, latency in (("a", 0.03), ("b", 0.06), ("c", 0.2))
        for node in ("edge-a", "edge-b")
        for tenant in ("shop", "bank")
    ]
    plan = plan_pool(pool(*demands))
    for one in demands:
        assert plan.placed[one.name].plan == plan_entry(one.problems[0])
    assert not plan.contended


def test_equal_entry_nodes_are_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[EntryProblem]()

    def counted(problem: EntryProblem, every: Candidates) -> Plan | Infeasible:
        made.append(problem)
        return plan_of(problem, every)

    monkeypatch.setattr("edge_planning.pools.questions.plan_of", counted)
    counts = []
    for nodes in ("a", "abc"):
        made.clear()
        plan_pool(pool(*(demand("a", f"edge-{n}", latency=0.05) for n in nodes)))
        counts.append(len(made))
    assert counts[0] == counts[1] > 0


def test_equal_entry_nodes_get_equal_tables_under_their_own_names() -> None:
    demands = [demand("a", f"edge-{n}", latency=0.05) for n in "abc"]
    plan = plan_pool(pool(*demands))
    first = plan.placed[demands[0].name]
    for one in demands:
        placed = plan.placed[one.name]
        assert placed.plan.table == first.plan.table
        assert {each.place for each in placed.reservation.uses} <= {one.node, "cloud"}
        assert plan.used[Resource(Kind.MEMORY, one.node)] > 0


def test_the_lower_priority_is_refused() -> None:
    local = replace(demand("a").problems[0], remote=None)
    demands = [
        replace(demand(name, rate=40.0, priority=priority), problems=(local,))
        for name, priority in (("a", -5), ("b", 5), ("c", 0))
    ]
    plan = plan_pool(pool(*demands))
    assert {*plan.placed} == {"shop/b@edge-a"}
    refusal = plan.refused["shop/c@edge-a"]
    assert refusal.resource == Resource(Kind.CPU, "edge-a")
    assert refusal.room.remove == ()


def test_a_change_at_one_node_of_a_contended_pool_moves_no_table_elsewhere() -> None:
    def made(uplink: float) -> PoolProblem:
        demands = [
            replace(
                demand(name, node, rate=40.0),
                problems=(replace(demand(name, node).problems[0], remote=None),),
            )
            for name in "abc"
            for node in ("edge-a", "edge-b")
        ]
        problem = pool(*demands)
        nodes = [replace(one, cpu=uplink) if one.name == "edge-b" else one for one in problem.nodes]
        return replace(problem, nodes=tuple(nodes))

    before = plan_pool(made(1.0))
    after = plan_pool(made(0.7), before)
    assert before.contended
    assert after.contended
    for name, placed in before.placed.items():
        if name.endswith("edge-a"):
            assert after.placed[name] == placed
    for name, refusal in before.refused.items():
        if name.endswith("edge-a"):
            assert after.refused[name] == refusal
