"""What requests take from processors outside of inference counts as use of their nodes."""

from dataclasses import replace

import pytest

from edge_planning import Codec, IntermediateNode, Mode, Privacy, candidates
from edge_planning.costs.profiles import RequestTime
from edge_planning.costs.queueing import Queue
from edge_planning.errors import BadProfileError
from edge_planning.pools import PoolDemand, PoolNode, PoolPlan, PoolProblem, PoolServer, plan_pool
from edge_planning.pools.reservations import Kind, Resource
from tests.planning.pools.test_pools import DEVICE, demand, pool

REQUESTS = RequestTime(receive=0.02, receive_byte=1e-7, hop=0.005, hop_byte=2e-7)
INPUT = 20_000 * 1e-7
"""Seconds for the bytes of the input."""


def measured(one: PoolDemand, **changes: object) -> PoolDemand:
    """The demand on nodes whose time for requests is measured."""
    entry = replace(DEVICE, requests=REQUESTS)
    problems = tuple(replace(each, entry=entry, **changes) for each in one.problems)  # type: ignore[arg-type]
    return replace(one, problems=problems)


def cpu(plan: PoolPlan, node: str) -> float:
    return plan.used[Resource(Kind.CPU, node)]


def test_a_local_route_takes_its_compute_time_and_that_of_receiving_requests() -> None:
    one = measured(demand("a", rate=4.0, latency=0.2), mode=Mode.LOCAL_ONLY)
    plan = plan_pool(pool(one))
    assert cpu(plan, "edge-a") == pytest.approx(4 * (0.05 + 0.02 + INPUT))


def test_a_route_through_triton_takes_time_for_its_hop_too() -> None:
    one = measured(demand("a", rate=4.0, latency=0.2), mode=Mode.CLOUD_ONLY)
    plan = plan_pool(pool(one))
    assert plan.placed[one.name].plan.table.routes[0].head is None
    assert cpu(plan, "edge-a") == pytest.approx(4 * (0.02 + INPUT + 0.005 + 20_000 * 2e-7))


def test_an_intermediate_node_receives_and_sends_activations() -> None:
    near = IntermediateNode("edge-b", replace(DEVICE, requests=REQUESTS), bandwidth=1e9)
    one = demand("a", rate=4.0, latency=0.2)
    one = measured(one, intermediates=(near,), must_run_at=frozenset({"edge-b", "cloud"}))
    nodes = (PoolNode("edge-a", "pi"), PoolNode("edge-b", "pi"))
    plan = plan_pool(PoolProblem(nodes, (PoolServer("cloud"),), (one,)))
    route = plan.placed[one.name].plan.table.routes[0]
    sizes = {"image": 20_000, "pool1": 8_000, "pool2": 2_000}
    assert route.cut is not None
    assert route.second_cut is not None
    first, second = sizes[route.cut], sizes[route.second_cut]
    received = 0.02 + first * 1e-7 + 0.005 + second * 2e-7
    assert route.intermediate_compute is not None
    assert cpu(plan, "edge-b") == pytest.approx(4 * (route.intermediate_compute + received))
    head = (route.head or 0.0) + 0.02 + INPUT + 0.005 + first * 2e-7
    assert cpu(plan, "edge-a") == pytest.approx(4 * head)


def test_a_node_that_inference_alone_would_not_fill_refuses_what_its_requests_do_not_leave() -> None:
    plain = [demand(name, rate=8.0, latency=0.5) for name in ("a", "b")]
    local = [replace(one, problems=(replace(one.problems[0], mode=Mode.LOCAL_ONLY),)) for one in plain]
    assert not plan_pool(pool(*local)).refused  # 8 x 0.05 s each
    plan = plan_pool(pool(*(measured(one) for one in local)))
    assert len(plan.refused) == 1
    (refused,) = plan.refused.values()
    assert refused.resource == Resource(Kind.CPU, "edge-a")
    assert refused.asked == pytest.approx(8 * (0.05 + 0.02 + INPUT))


def test_a_cheaper_exit_makes_room_for_the_time_of_requests() -> None:
    plain = [demand(name, rate=8.0, latency=0.5) for name in ("a", "b")]
    local = [replace(one, problems=(replace(one.problems[0], privacy=Privacy.LOCAL),)) for one in plain]
    plan = plan_pool(pool(*(measured(one) for one in local)))
    assert not plan.refused
    assert {one.plan.table.routes[0].exit for one in plan.placed.values()} == {"early"}
    assert cpu(plan, "edge-a") == pytest.approx(2 * 8 * (0.015 + 0.02 + INPUT))


def test_time_that_is_not_measured_is_not_counted() -> None:
    one = demand("a", rate=4.0, latency=0.2)
    local = replace(one, problems=(replace(one.problems[0], mode=Mode.LOCAL_ONLY),))
    assert cpu(plan_pool(pool(local)), "edge-a") == pytest.approx(4 * 0.05)


def test_the_time_of_requests_is_part_of_the_latency_and_delays_runs() -> None:
    idle = measured(demand("a", rate=0.01, latency=0.2), mode=Mode.LOCAL_ONLY)
    alone = plan_pool(pool(idle)).placed[idle.name].plan.table.routes[0].latency
    queue = Queue(0.01, 0.05 + 0.02 + INPUT, 0.0).wait_quantile(95)
    assert alone == pytest.approx(0.05 + 0.02 + INPUT + float(queue))
    busy = replace(measured(demand("a", rate=8.0), mode=Mode.LOCAL_ONLY), assumed=False)
    table = plan_pool(pool(busy)).placed[busy.name]
    queue = Queue(8.0, 0.05 + 0.02 + INPUT, 0.0).wait_quantile(95)
    assert table.plan.table.routes[0].latency == pytest.approx(0.05 + 0.02 + INPUT + float(queue))


def test_a_hop_takes_time_at_both_of_its_ends() -> None:
    (one,) = demand("a", rate=1.0, latency=0.5).problems
    problem = replace(one, mode=Mode.CLOUD_ONLY)
    assert problem.remote is not None
    both = replace(
        problem,
        entry=replace(problem.entry, requests=REQUESTS),
        remote=replace(problem.remote, requests=RequestTime(0.003, 3e-8, 0.0, 0.0)),
    )
    more = candidates(both).latencies(1e9) - candidates(problem).latencies(1e9)
    here = 0.02 + INPUT + 0.005 + 20_000 * 2e-7
    assert more.tolist() == pytest.approx([here + 0.003 + 20_000 * 3e-8] * len(more))


def test_a_large_response_takes_time_to_be_written_at_both_ends_and_to_be_read() -> None:
    (one,) = demand("a", rate=1.0, latency=0.5).problems
    problem = replace(one, mode=Mode.CLOUD_ONLY)
    assert problem.remote is not None
    there = RequestTime(0.003, 3e-8, 0.0, 0.0, respond_byte=4e-8)
    both = replace(
        problem,
        model=replace(
            problem.model, exits=tuple(replace(each, response=50_000) for each in problem.model.exits)
        ),
        entry=replace(problem.entry, requests=replace(REQUESTS, respond_byte=5e-8, reply_byte=6e-8)),
        remote=replace(problem.remote, requests=there),
    )
    small = replace(both, model=problem.model)
    more = candidates(both).latencies(1e9) - candidates(small).latencies(1e9)
    added = 50_000 * (5e-8 + 6e-8 + 4e-8) + 50_000 * 8 / 1e9
    assert more.tolist() == pytest.approx([added] * len(more))


def test_requests_that_run_elsewhere_delay_the_runs_of_others() -> None:
    runs = replace(demand("runs", rate=1.0, latency=0.4), priority=1)
    runs = measured(runs, mode=Mode.LOCAL_ONLY)
    passing = measured(demand("passing", rate=20.0), mode=Mode.CLOUD_ONLY)
    problem = pool(runs, passing)
    plan = plan_pool(problem)
    busy = 20 * (0.02 + INPUT + 0.005 + 20_000 * 2e-7)
    assert cpu(plan, "edge-a") == pytest.approx(busy + 0.05 + 0.02 + INPUT)
    assert plan.placed[runs.name].reservation.waits["edge-a"] > 0.03
    assert plan.placed[passing.name].reservation.waits.keys() == {"cloud"}


def test_a_codec_sends_its_measured_size_or_its_ratio() -> None:
    half = Codec("fp16", 0.5, sizes={("full", "pool1"): 1_000})
    assert half.sent("full", "image", 20_000) == 10_000
    assert half.sent("full", "pool1", 8_000) == 1_000


def test_a_negative_time_is_rejected() -> None:
    with pytest.raises(BadProfileError, match="hop -1"):
        RequestTime(0.1, 0.0, -1, 0.0)
