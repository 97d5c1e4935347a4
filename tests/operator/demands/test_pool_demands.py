"""The services of a pool, planned together from their manifests."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_api import Placement
from edge_operator.names import DEMAND_ANNOTATION, SERVERS_ANNOTATION, UNFIT_ANNOTATION
from edge_operator.pool import manifests
from edge_operator.pool.demands import NO_PLAN, PooledPlan, plan_services, runtime_memory
from edge_operator.pool.pooled import EntryKey, LinkKey, PlannedEntry, Pool, PooledService, ServerState
from edge_operator.pool.published_links import published_links
from edge_operator.pool.server_choice import Choice
from edge_operator.pool.server_links import Link
from edge_operator.pool_nodes import PoolMember, intermediate_nodes
from edge_planning import Infeasible, Plan, plan_entry
from edge_planning.errors import BadObjectiveError, BadPlacesError
from edge_planning.pools.reservations import Kind
from edge_planning.problems import EntryProblem, IntermediateNode, Load
from messages import mentions
from operator_objects import CARD
from pooled import PROFILES, members, noted, placement, pool, pool_spec, published, service

MI = 1 << 20


def alone(pooled: Pool, one: PooledService, member: PoolMember, server: str | None = "cloud") -> EntryProblem:
    """The problem of a service at an entry node as if it had the pool to itself."""
    link = one.links.get(LinkKey(member.node.name, server or ""), Link(0.002))
    rate = one.spec.planned_rate
    made = manifests.entry_problem(
        one.spec,
        manifests.planned_model(one.key.name, CARD),
        PROFILES,
        member,
        remote=server,
        peer=server or "the cloud",
        rtt=link.rtt,
        bandwidth=link.bandwidth,
    )
    local = pooled.spec.links.local
    near = tuple(
        IntermediateNode(
            each.node.name,
            manifests.class_profile(PROFILES[each.device_class]),
            float(local.bandwidth),
            float(local.round_trip),
            Load(rate=rate),
        )
        for each in intermediate_nodes(member, pooled.members)
    )
    return replace(made, remote_load=Load(rate=rate), intermediates=near)


def at(plan: PooledPlan, name: str, node: str, namespace: str = "default") -> PlannedEntry:
    return plan.entries[EntryKey(namespace, name, node)]


def mentions_in(text: str, *parts: str) -> bool:
    return mentions(*parts).search(text) is not None


@pytest.mark.parametrize("tier", ["Edge", "Device"])
@pytest.mark.parametrize("spec", [{}, {"mode": "LocalOnly"}, {"mode": "CloudOnly"}, {"privacy": "Local"}])
@pytest.mark.parametrize("bandwidth", [None, 3e6, 2e8])
def test_a_pool_with_room_gives_each_entry_node_the_plan_that_it_would_have_alone(
    tier: str, spec: dict[str, Any], bandwidth: float | None
) -> None:
    nodes = members(3, 2, tier=tier)
    one = service("digits", nodes, bandwidth=bandwidth, **spec)
    pooled = pool(nodes, one, service("other", nodes, bandwidth=bandwidth), spec=pool_spec(tier=tier))
    plan = plan_services(pooled)
    for member in nodes:
        found = at(plan, "digits", member.node.name)
        assert found.plan == plan_entry(alone(pooled, one, member))
        assert (found.shortage, found.intermediate) == ("", False)


def test_a_declared_rate_is_planned_with_the_waits_that_it_causes() -> None:
    nodes = members(1, 0)
    one = service("digits", nodes, bandwidth=2e8, load={"rate": 5.0})
    pooled = pool(nodes, one)
    found = at(plan_services(pooled), "digits", "cam-0")
    assert found.plan == plan_entry(alone(pooled, one, nodes[0]))
    assert found.plan != plan_entry(alone(pool(nodes), service("digits", nodes, bandwidth=2e8), nodes[0]))


specs = st.fixed_dictionaries(
    {
        "slo": st.builds(
            lambda ms, least: {"latency": f"{ms}ms"} | ({"minAccuracy": least} if least else {}),
            st.sampled_from([20, 60, 90, 200]),
            st.sampled_from([None, 0.9]),
        ),
        "mode": st.sampled_from(["Auto", "Auto", "LocalOnly", "CloudOnly", "PartitionOnly"]),
    }
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(specs, st.sampled_from([None, 1e6, 2e7, 5e8])), min_size=1, max_size=4),
    st.integers(1, 3),
    st.sampled_from(["Edge", "Device"]),
)
def test_generated_pools_with_room_plan_as_each_service_alone(
    wanted: list[tuple[dict[str, Any], float | None]], cameras: int, tier: str
) -> None:
    nodes = members(cameras, 1, tier=tier)
    services = [
        service(f"s{n}", nodes, namespace=f"t{n % 2}", bandwidth=bandwidth, **spec)
        for n, (spec, bandwidth) in enumerate(wanted)
    ]
    pooled = pool(nodes, *services, spec=pool_spec(tier=tier))
    plan = plan_services(pooled)
    for one in services:
        for member in nodes:
            found = at(plan, one.key.name, member.node.name, one.key.namespace)
            expected = plan_entry(alone(pooled, one, member))
            if isinstance(expected, Infeasible):
                assert isinstance(found.plan, Infeasible)
                assert found.plan.nearest_slo == expected.nearest_slo
            else:
                assert found.plan == expected


def test_a_pool_without_triton_servers_has_local_routes() -> None:
    nodes = members(1, 0)
    one = service("digits", nodes, servers=())
    pooled = pool(nodes, one, spec=pool_spec(()))
    found = at(plan_services(pooled), "digits", "cam-0")
    assert found.plan == plan_entry(alone(pooled, one, nodes[0], None))
    assert found.server is None


def test_a_server_of_a_class_that_is_not_profiled_has_its_link_measured() -> None:
    nodes = members(1, 0)
    measured = {name: each for name, each in PROFILES.items() if name != "cloud"}
    one = replace(service("digits", nodes), profiles=measured)
    found = at(plan_services(pool(nodes, one)), "digits", "cam-0")
    assert isinstance(found.plan, Plan)
    assert [route.tail for route in found.plan.table.routes] == [None]
    assert found.server is not None
    assert found.server.name == "cloud"


def test_a_node_that_is_only_an_intermediate_one_gets_a_table_too() -> None:
    nodes = members(2, 1, tier="Device")
    cameras = {"nodeSelector": {"class": "camera"}}
    one = service(
        "digits", nodes, bandwidth=1e5, entryNodes=cameras, slo={"latency": "90ms", "minAccuracy": 0.9}
    )
    plan = plan_services(pool(nodes, one, spec=pool_spec(tier="Device")))
    used = {r.intermediate for n in range(2) for r in at(plan, "digits", f"cam-{n}").plan.table.routes}  # type: ignore[union-attr]
    assert "gate-0" in used
    between = at(plan, "digits", "gate-0")
    assert between.intermediate
    assert isinstance(between.plan, Plan)
    assert between.problem.min_accuracy is None


def test_the_first_service_of_a_namespace_on_a_node_costs_a_runtime() -> None:
    nodes = members(1, 0, memory=300.0 * MI)
    mine = [service(name, nodes) for name in ("a", "b", "c")]
    plan = plan_services(pool(nodes, *mine, runtime_memory=192.0 * MI))
    assert all(isinstance(entry.plan, Plan) for entry in plan.entries.values())
    theirs = service("d", nodes, namespace="shop", priority=-1)
    plan = plan_services(pool(nodes, *mine, theirs, runtime_memory=192.0 * MI))
    refused = at(plan, "d", "cam-0", "shop")
    assert refused.plan is None
    assert mentions_in(refused.shortage, "memory of cam-0", "192Mi needed", "108Mi of 300Mi left")
    assert mentions_in(refused.shortage, "used by other namespaces", "raise spec.priority above 0")
    assert "default" not in refused.shortage


def test_a_dedicated_service_costs_a_runtime_of_its_own() -> None:
    nodes = members(1, 0, memory=300.0 * MI)
    one, other = service("a", nodes), replace(service("b", nodes, priority=-5), isolation="Dedicated")
    plan = plan_services(pool(nodes, one, other, runtime_memory=192.0 * MI))
    refused = at(plan, "b", "cam-0")
    assert refused.plan is None
    assert mentions_in(refused.shortage, "memory of cam-0", "used by a", "spec.priority above 0")
    equal = replace(service("b", nodes), isolation="Dedicated")
    plan = plan_services(pool(nodes, one, equal, runtime_memory=192.0 * MI))
    refused = next(entry for entry in plan.entries.values() if entry.plan is None)
    assert mentions_in(refused.shortage, "remove", "spec.priority above 0")


def test_models_take_memory_once_for_each_runtime() -> None:
    nodes = members(1, 0, memory=500.0 * MI)
    large = CARD.model_copy(update={"size": 280 * MI})
    local: dict[str, Any] = {"mode": "LocalOnly", "slo": {"latency": "1s"}}
    services = [service(name, nodes, card=large, **local) for name in ("a", "b")]
    plan = plan_services(pool(nodes, *services, runtime_memory=192.0 * MI))
    assert all(isinstance(entry.plan, Plan) for entry in plan.entries.values())
    other = CARD.model_copy(update={"size": 280 * MI, "digest": "sha256:" + "cd" * 32})
    services[1] = service("b", nodes, card=other, priority=-1, **local)
    plan = plan_services(pool(nodes, *services, runtime_memory=192.0 * MI))
    assert at(plan, "b", "cam-0").plan is None
    assert "memory of cam-0: 280Mi needed" in at(plan, "b", "cam-0").shortage


def test_services_that_know_different_bytes_of_a_model_share_no_slices() -> None:
    nodes = members(1, 0, memory=500.0 * MI)
    sizes = [CARD.model_copy(update={"size": size * MI}) for size in (280, 0)]
    services = [service(name, nodes, card=one) for name, one in zip("ab", sizes, strict=True)]
    plan = plan_services(pool(nodes, *services))
    first, second = (one.digest for one in plan.plan.problem.demands)
    assert first != second


def test_a_service_of_lower_priority_is_refused_with_what_binds_and_what_makes_room() -> None:
    nodes = members(1, 0)
    local: dict[str, Any] = {"mode": "LocalOnly", "slo": {"latency": "1s", "minAccuracy": 0.9}}
    first = service("first", nodes, load={"rate": 5.0}, priority=10, **local)
    second = service("second", nodes, load={"rate": 5.0}, **local)
    plan = plan_services(pool(nodes, first, second))
    assert isinstance(at(plan, "first", "cam-0").plan, Plan)
    refused = at(plan, "second", "cam-0")
    assert refused.plan is None
    assert mentions_in(refused.shortage, "cpu of cam-0", "60% of its time needed", "40% of 100% left")
    assert mentions_in(refused.shortage, "used by first (60%)", "set spec.load.rate to at most 3.33")


def test_a_narrow_uplink_is_shared() -> None:
    nodes = members(1, 0)
    cloud: dict[str, Any] = {"mode": "CloudOnly", "load": {"rate": 4.0}, "slo": {"latency": "2s"}}
    services = [service(name, nodes, bandwidth=1e6, priority=n, **cloud) for n, name in enumerate("ab")]
    plan = plan_services(pool(nodes, *services))
    refused = at(plan, "a", "cam-0")
    assert refused.plan is None
    assert mentions_in(refused.shortage, "uplink of cam-0", "524kbit/s needed", "276kbit/s of 800kbit/s left")
    assert isinstance(at(plan, "b", "cam-0").plan, Plan)


def test_waits_that_other_services_cause_lead_to_a_faster_exit() -> None:
    nodes = members(1, 0)
    slo = {"latency": "200ms"}
    one = service("digits", nodes, mode="Auto", slo=slo, load={"rate": 0.5}, privacy="Local")
    busy = service("busy", nodes, mode="LocalOnly", slo={"latency": "2s"}, load={"rate": 5.0}, priority=5)
    before = at(plan_services(pool(nodes, one)), "digits", "cam-0")
    after = at(plan_services(pool(nodes, one, busy)), "digits", "cam-0")
    assert isinstance(before.plan, Plan)
    assert isinstance(after.plan, Plan)
    assert before.plan.table.routes[0].exit == "final"
    assert after.plan.table.routes[0].exit == "exit1" or not after.in_time
    assert "cpu of cam-0" in after.shortage


def test_a_service_that_cannot_be_planned_does_not_keep_others_from_it() -> None:
    nodes = members(1, 0)
    wrong = service("wrong", nodes, optimize="Energy")
    plan = plan_services(pool(nodes, wrong, service("digits", nodes)))
    assert isinstance(plan.failed[wrong.key], BadObjectiveError)
    assert plan.of(wrong.key) == []
    assert isinstance(at(plan, "digits", "cam-0").plan, Plan)


def test_an_unchanged_pool_keeps_every_table_and_moves_nothing() -> None:
    nodes = members(3)
    pooled = pool(nodes, *[service(f"s{n}", nodes, bandwidth=2e7, load={"rate": 2.0}) for n in range(4)])
    first = plan_services(pooled)
    second = plan_services(pooled, first)
    assert {key: entry.plan for key, entry in second.entries.items()} == {
        key: entry.plan for key, entry in first.entries.items()
    }
    assert second.plan.moved == ()
    assert second.problems == first.problems


def test_noise_of_a_link_changes_no_problem_and_a_clear_change_does() -> None:
    nodes = members(1, 0)

    def measured(bandwidth: float, previous: PooledPlan) -> PooledPlan:
        return plan_services(pool(nodes, service("digits", nodes, bandwidth=bandwidth)), previous)

    first = measured(20e6, NO_PLAN)
    noisy = measured(21.9e6, first)
    assert noisy.plan.problem is first.plan.problem
    slower = measured(17e6, noisy)
    assert at(slower, "digits", "cam-0").problem.bandwidth == 17e6


def test_one_changed_service_leaves_the_demands_of_others_as_they_are() -> None:
    nodes = members(2)
    others = [service(f"s{n}", nodes) for n in range(3)]
    first = plan_services(pool(nodes, service("digits", nodes), *others))
    changed = service("digits", nodes, slo={"latency": "40ms"})
    second = plan_services(pool(nodes, changed, *others), first)
    for key, problems in second.problems.items():
        assert (problems is first.problems[key]) is (key.name != "digits")
    assert at(second, "digits", "cam-0").problem.slo.latency == 0.04


@pytest.mark.parametrize(
    ("states", "full", "chosen"),
    [
        ({}, (), "far"),
        ({"far": ServerState(away=True)}, (), "cloud"),
        ({}, ("far",), "cloud"),
        ({"far": ServerState(away=True), "cloud": ServerState(away=True)}, (), "far"),
        ({"far": ServerState(steady=False)}, (), "far"),
    ],
)
def test_the_best_server_that_responds_and_has_room_is_used(
    states: dict[str, ServerState], full: tuple[str, ...], chosen: str
) -> None:
    nodes = members(1, 0)
    names = ("cloud", "far")
    one = service("digits", nodes, bandwidth={"cloud": 2e6, "far": 2e8}, servers=names)
    one = replace(one, full=frozenset(full))
    pooled = replace(pool(nodes, one, spec=pool_spec(names)), servers=states)
    found = at(plan_services(pooled), "digits", "cam-0")
    assert found.server is not None
    assert found.server.name == chosen
    assert found.problem.peer == chosen


def test_a_server_with_little_memory_takes_the_tails_that_fit() -> None:
    nodes = members(1, 0)
    other = CARD.model_copy(update={"size": 80 * MI, "digest": "sha256:" + "cd" * 32})
    large = CARD.model_copy(update={"size": 80 * MI})
    cloud: dict[str, Any] = {"mode": "CloudOnly", "slo": {"latency": "2s"}, "bandwidth": 2e8}
    services = [
        service("a", nodes, card=large, priority=1, **cloud),
        service("b", nodes, card=other, **cloud),
    ]
    plan = plan_services(pool(nodes, *services, spec=pool_spec(memory="100Mi")))
    assert isinstance(at(plan, "a", "cam-0").plan, Plan)
    assert at(plan, "b", "cam-0").plan is None
    assert mentions_in(
        at(plan, "b", "cam-0").shortage, "memory of cloud", "80Mi needed", "20Mi of 100Mi left"
    )


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"requests": {"memory": "192Mi"}, "limits": {"memory": "1Gi"}}, 192 * MI),
        ({"limits": {"memory": "1Gi"}}, 1024 * MI),
        ({"requests": {"cpu": "50m"}}, 0),
        ({}, 0),
    ],
)
def test_a_runtime_counts_with_the_memory_that_it_requests(resources: Any, expected: float) -> None:
    assert runtime_memory(resources) == expected


def test_an_empty_pool_has_an_empty_plan() -> None:
    plan = plan_services(pool(members(1)))
    assert (plan.entries, plan.failed) == ({}, {})


def test_a_restarted_operator_refuses_the_services_that_were_refused_before() -> None:
    nodes = members(2, 0)
    local: dict[str, Any] = {"mode": "LocalOnly", "slo": {"latency": "1s", "minAccuracy": 0.9}}

    def make(name: str, placements: Any = None) -> PooledService:
        return service(name, nodes, load={"rate": 5.0}, placements=placements, **local)

    for first, second in (("a", "b"), ("b", "a")):
        alone = plan_services(pool(nodes, make(first)))
        both = plan_services(pool(nodes, make(first), make(second)), alone)
        assert {key.service for key, entry in both.entries.items() if entry.plan is None} == {second}
        before = {
            name: {key.node: noted(entry) for key, entry in both.entries.items() if key.service == name}
            for name in (first, second)
        }
        again = pool(nodes, *[make(name, before[name]) for name in (first, second)])
        restarted = plan_services(again)
        assert {key: entry.plan for key, entry in restarted.entries.items()} == {
            key: entry.plan for key, entry in both.entries.items()
        }
        assert at(restarted, second, "cam-0").notes[UNFIT_ANNOTATION] == "true"
        assert UNFIT_ANNOTATION not in at(restarted, first, "cam-0").notes


def test_a_service_at_a_node_with_the_name_of_a_triton_server_is_not_planned() -> None:
    nodes = members(2, 0)
    servers = pool_spec(("cloud", "cam-1"))
    one, other = service("digits", nodes), service("other", nodes[:1])
    plan = plan_services(pool(nodes, one, other, spec=servers))
    assert isinstance(plan.failed[one.key], BadPlacesError)
    assert isinstance(at(plan, "other", "cam-0").plan, Plan)


NAMES = ("cloud", "far")
FAST = {"cloud": 2e8, "far": 2e8}


def with_servers(before: Placement | None, **states: ServerState) -> tuple[PlannedEntry, Placement]:
    """What a camera gets from a pool of two servers, of which `far` is faster, and its Placement."""
    nodes, spec = members(1, 0), pool_spec(NAMES)
    placements = {} if before is None else {"cam-0": before}
    one = service("digits", nodes, bandwidth=FAST, servers=NAMES, placements=placements)
    found = at(plan_services(replace(pool(nodes, one, spec=spec), servers=states)), "digits", "cam-0")
    return found, published(one, found, spec)


def used(placed: Placement) -> set[str]:
    return {each.place for route in placed.spec.routes for each in route.stages if each.runtime == "Triton"}


def test_an_entry_node_notes_the_server_that_it_lost_and_returns_to_it() -> None:
    _, before = with_servers(None)
    assert used(before) == {"far"}
    lost, during = with_servers(before, far=ServerState(away=True))
    assert used(during) == {"cloud"}
    assert '"left": "far"' in lost.notes[SERVERS_ANNOTATION]
    assert lost.choice == Choice("cloud", "far", replaceable=False)
    waiting, during = with_servers(during, far=ServerState(steady=False))
    assert used(during) == {"cloud"}
    assert '"left": "far"' in waiting.notes[SERVERS_ANNOTATION]
    back, after = with_servers(during)
    assert used(after) == {"far"}
    assert "left" not in back.notes.get(SERVERS_ANNOTATION, "")
    assert back.choice == Choice("far", None, replaceable=True)


def test_local_routes_wait_for_no_steady_server() -> None:
    local = placement("cam-0", peer="cloud")
    _, after = with_servers(local, far=ServerState(steady=False))
    assert used(after) == {"far"}


def test_a_pool_of_one_server_notes_no_servers() -> None:
    nodes = members(1, 0)
    plan = plan_services(pool(nodes, service("digits", nodes, bandwidth=2e8)))
    assert set(at(plan, "digits", "cam-0").notes) == {DEMAND_ANNOTATION}


def test_links_are_read_from_placements() -> None:
    mine = placement("cam-0", peer="cloud", link={"bandwidth": "20M", "roundTrip": "4ms"})
    theirs = placement("cam-0", peer="far", link={"bandwidth": "90M", "roundTrip": "40ms"})
    one = published_links(pool_spec().triton_servers, {"cam-0": mine}, {})
    assert one == {LinkKey("cam-0", "cloud"): Link(0.004, 20_000_000)}
    two = published_links(pool_spec(NAMES).triton_servers, {"cam-0": mine}, {"cam-0": [mine, theirs]})
    assert two[LinkKey("cam-0", "far")] == Link(0.04, 90_000_000)
    assert two[LinkKey("cam-0", "cloud")] == Link(0.004, 20_000_000)
    new = published_links(pool_spec(NAMES).triton_servers, {}, {"cam-0": [mine, theirs]})
    assert new[LinkKey("cam-0", "far")].rtt == 0.04


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            specs,
            st.sampled_from([1e6, 2e7]),
            st.sampled_from([0.5, 4.0, 12.0]),
            st.sampled_from(["blue", "red"]),
            st.sampled_from([-5, 0, 5]),
        ),
        min_size=2,
        max_size=6,
    ),
    st.sampled_from([300.0 * MI, 500.0 * MI]),
)
def test_full_pools_hold_no_more_than_they_have_and_name_no_service_of_another_namespace(
    wanted: list[tuple[dict[str, Any], float, float, str, int]], memory: float
) -> None:
    nodes = members(2, 1, memory=memory)
    services = [
        service(
            f"{tenant}{n}",
            nodes,
            namespace=tenant,
            bandwidth=bandwidth,
            load={"rate": rate},
            priority=priority,
            **spec,
        )
        for n, (spec, bandwidth, rate, tenant, priority) in enumerate(wanted)
    ]
    plan = plan_services(pool(nodes, *services, runtime_memory=192.0 * MI))
    assert len(plan.entries) == len(services) * len(nodes)
    limits = {Kind.CPU: 1.0, Kind.BUSY: 1.0, Kind.UPLINK: 0.8 * 2e7, Kind.MEMORY: memory}
    for resource, used in plan.plan.used.items():
        unlimited = resource.kind is Kind.MEMORY and resource.place == "cloud"
        assert unlimited or used <= limits[resource.kind] * (1 + 1e-6)
    for key, entry in plan.entries.items():
        assert entry.plan is not None or entry.shortage
        other = "red" if key.namespace == "blue" else "blue"
        assert other not in entry.shortage
