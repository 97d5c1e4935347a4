"""Simulated requests against results computed by hand and formulas of queueing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import BadValueError
from edge_planning_lab.baselines import (
    Answer,
    AtMeasured,
    EdgentDynamic,
    Fixed,
    Measurement,
    Policy,
    Power,
    Request,
    SimulatedCandidates,
    clairvoyant,
    dads,
    edgent,
    neurosurgeon_latency,
)
from edge_planning_lab.baselines.hindsight import Oracle
from edge_planning_lab.baselines.memoryless import RandomFeasible
from edge_planning_lab.simulation import (
    Bandwidth,
    Broken,
    Fault,
    RequestOutcome,
    Scenario,
    SimulatedServer,
    Stream,
    Uplink,
    poisson,
    simulate,
    summary,
)

from .conftest import make_options, make_scenario


class WithFallback:
    """The full model with its cut at the input, and the small exit as its fallback."""

    name, probes = "with_fallback", False

    def __init__(self, eager: bool = False) -> None:
        self.eager = eager

    def start(self, options: SimulatedCandidates) -> None:
        return None

    def decide(self, request: Request, state: None, now: float) -> tuple[Answer, None]:
        return Answer(4, 0, 0.0 if self.eager else None), None

    def observe(self, measurement: Measurement, state: None, now: float) -> None:
        return None


class Listener(WithFallback):
    """Records its measurements."""

    name, probes = "listener", True

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index
        self.heard: list[tuple[float, Measurement]] = []

    def decide(self, request: Request, state: None, now: float) -> tuple[Answer, None]:
        return Answer(self.index), None

    def observe(self, measurement: Measurement, state: None, now: float) -> None:
        self.heard.append((now, measurement))


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("small@local", 0.2), ("full@input", 0.15), ("full@trunk", 0.115), ("small@trunk", 0.085)],
)
def test_alone_on_a_constant_link_a_request_takes_intercept_plus_bits_over_bandwidth(
    name: str, seconds: float
) -> None:
    records = simulate(make_scenario(name, [0.3, 2.7])).records
    options = make_options()
    index = options.find(name)
    assert records.latency == pytest.approx([seconds, seconds])
    assert seconds == pytest.approx(float(options.latencies(1e6)[index]))
    assert records.bytes.tolist() == [options.bits[index] / 8] * 2


def test_requests_queue_at_the_node_on_the_link_and_at_the_server() -> None:
    node = simulate(make_scenario("small@local", [0.0, 0.1, 0.15])).records
    assert node.latency == pytest.approx([0.2, 0.3, 0.45])
    link = simulate(make_scenario("small@input", [0.0, 0.02])).records
    assert link.latency == pytest.approx([0.12, 0.2])
    options = replace(make_options(deadline=2.0), tail=np.full(6, 0.3))
    one = simulate(make_scenario("full@input", [0.0, 0.1, 0.11], options, 10e6, instances=1)).records
    assert one.latency == pytest.approx([0.32, 0.52, 0.81])
    two = simulate(make_scenario("full@input", [0.0, 0.1, 0.11], options, 10e6, instances=2)).records
    assert two.latency == pytest.approx([0.32, 0.32, 0.51])


def test_one_who_waits_too_long_is_given_up_and_does_not_burden_the_queue() -> None:
    records = simulate(make_scenario("small@local", [0.0, 0.01, 0.02, 0.03, 0.04])).records
    outcomes = [
        RequestOutcome.IN_TIME,
        RequestOutcome.IN_TIME,
        RequestOutcome.GIVEN_UP,
        RequestOutcome.GIVEN_UP,
        RequestOutcome.GIVEN_UP,
    ]
    assert records.outcome.tolist() == outcomes
    later = simulate(make_scenario("small@local", [0.0, 0.01, 0.02, 0.03, 0.7])).records
    assert later.outcome[4] == RequestOutcome.IN_TIME


def test_a_patient_stream_gets_its_late_responses() -> None:
    scenario = make_scenario("full@local", [0.0, 5.0])
    stream = replace(scenario.streams[0], patience=2.0)
    found = summary(simulate(replace(scenario, streams=[stream])).records)
    assert [found.attainment, found.utility, found.p50] == pytest.approx([0.0, 0.0, 0.8])


def test_a_transfer_that_would_be_late_is_aborted_at_the_deadline() -> None:
    records = simulate(make_scenario("full@input", [0.0, 10.0], bandwidth=100e3)).records
    assert records.outcome.tolist() == [RequestOutcome.GIVEN_UP] * 2
    assert records.bytes.tolist() == pytest.approx([50_000 / 8] * 2)


def test_the_fallback_answers_when_the_reply_is_late_and_costs_node_time_and_energy() -> None:
    options = make_options(power=Power(computing=2.0, sending=1.0))
    slow = simulate(make_scenario(WithFallback(), [0.0], options, 100e3)).records
    assert slow.latency == pytest.approx([0.495])
    assert (slow.by[0], slow.choice[0], slow.accuracy[0]) == (0, 4, 0.6)
    assert slow.joules == pytest.approx([2.0 * 0.2 + 1.0 * 0.5])
    fast = simulate(make_scenario(WithFallback(), [0.0], options, 1e6)).records
    assert (fast.by[0], fast.accuracy[0], bool(fast.fallback_computed[0])) == (4, 0.9, False)
    assert fast.joules == pytest.approx([0.1])


def test_a_fallback_that_began_for_nothing_is_still_paid() -> None:
    options = make_options(power=Power(computing=2.0))
    records = simulate(make_scenario(WithFallback(), [0.0], options, 1e5 / 0.4)).records
    assert records.latency == pytest.approx([0.45])
    assert (records.by[0], records.accuracy[0]) == (4, 0.9)
    assert records.joules == pytest.approx([0.4])


def test_an_eager_fallback_begins_at_once_and_still_lets_the_reply_go_first() -> None:
    options = make_options(power=Power(computing=2.0))
    eager = simulate(make_scenario(WithFallback(eager=True), [0.0, 2.0, 2.01], options, 1e6)).records
    assert eager.latency == pytest.approx([0.15, 0.15, 0.24])
    assert eager.accuracy.tolist() == [0.9, 0.9, 0.9]
    assert eager.joules == pytest.approx([0.4, 0.4, 0.4])
    slow = simulate(make_scenario(WithFallback(eager=True), [0.0, 0.05], options, 50e3)).records
    assert slow.latency == pytest.approx([0.495, 0.495])
    lazy = simulate(make_scenario(WithFallback(), [0.0, 0.05], options, 50e3)).records
    assert lazy.outcome.tolist() == [RequestOutcome.IN_TIME, RequestOutcome.GIVEN_UP]


def test_the_fallback_waits_for_the_node_like_every_request() -> None:
    options = make_options()
    scenario = make_scenario(WithFallback(), [0.0], options, 100e3)
    other = replace(scenario.streams[0], service="o", policy=Fixed("local", 0), arrivals=np.array([0.2]))
    records = simulate(replace(scenario, streams=[*scenario.streams, other])).records
    assert records.outcome.tolist() == [RequestOutcome.GIVEN_UP, RequestOutcome.IN_TIME]


def test_a_policy_hears_of_a_transfer_when_it_ends_and_of_probes_while_the_link_is_idle() -> None:
    busy = Listener(4)
    simulate(make_scenario(busy, [0.5, 1.5, 2.5], bandwidth=1e6, duration=2.6))
    assert [round(now, 4) for now, _ in busy.heard] == [0.0655, 0.6, 1.6, 2.6]
    assert all(m.rate == pytest.approx(1e6) for _, m in busy.heard)
    idle = Listener(0)
    run = simulate(make_scenario(idle, [0.5], bandwidth=1e6, duration=5.0))
    assert [round(now, 4) for now, _ in idle.heard] == [0.0655, 2.1311, 4.1966]
    assert (run.probes["up"], run.probe_bytes["up"]) == (3, 3 * 8192.0)
    late = Listener(4)
    simulate(make_scenario(late, [3.0], bandwidth=50e3, duration=3.1))
    given_up = [(now, m.rate) for now, m in late.heard if not m.complete and not m.probe]
    assert given_up == pytest.approx(np.array([(3.5, 50e3)]))


def test_a_probe_that_does_not_come_through_says_how_little_did() -> None:
    cut = Bandwidth((0.0, 0.01), (1e6, 0.0))
    listener = Listener(0)
    simulate(make_scenario(listener, [], bandwidth=cut, duration=3.0))
    now, measured = listener.heard[0]
    assert (now, measured.complete, round(measured.bits, 3)) == (2.0, False, 1e4)


def test_a_link_that_is_cut_loses_what_crosses_it_until_it_is_restored() -> None:
    cut = Fault(Broken.LINK, "up", 10.0, 20.0)
    records = simulate(make_scenario("full@input", [5.0, 9.95, 15.0, 20.5], faults=[cut])).records
    outcomes = [
        RequestOutcome.IN_TIME,
        RequestOutcome.GIVEN_UP,
        RequestOutcome.GIVEN_UP,
        RequestOutcome.IN_TIME,
    ]
    assert records.outcome.tolist() == outcomes
    assert records.bytes[1] == pytest.approx(50_000 / 8)


def test_a_reply_waits_for_the_link_to_come_back() -> None:
    cut = Fault(Broken.LINK, "up", 10.12, 10.3)
    records = simulate(make_scenario("full@input", [10.0], faults=[cut])).records
    assert records.latency == pytest.approx([0.3])


def test_a_lost_node_loses_what_is_open_and_refuses_what_comes_until_it_returns() -> None:
    lost = Fault(Broken.NODE, "n", 10.1, 20.0)
    records = simulate(make_scenario("small@local", [9.0, 10.0, 15.0, 20.0, 21.0], faults=[lost])).records
    expected = [
        RequestOutcome.IN_TIME,
        RequestOutcome.LOST,
        RequestOutcome.LOST,
        RequestOutcome.IN_TIME,
        RequestOutcome.IN_TIME,
    ]
    assert records.outcome.tolist() == expected


def test_a_lost_server_serves_no_request_and_the_fallback_does() -> None:
    lost = Fault(Broken.SERVER, "triton", 10.0, 20.0)
    plain = simulate(make_scenario("full@input", [9.0, 9.95, 15.0, 21.0], faults=[lost])).records
    assert plain.outcome.tolist() == [
        RequestOutcome.IN_TIME,
        RequestOutcome.GIVEN_UP,
        RequestOutcome.GIVEN_UP,
        RequestOutcome.IN_TIME,
    ]
    with_fallback = simulate(make_scenario(WithFallback(), [9.0, 9.95, 15.0, 21.0], faults=[lost])).records
    assert with_fallback.by.tolist() == [4, 0, 0, 4]
    assert set(with_fallback.outcome.tolist()) == {RequestOutcome.IN_TIME}


def test_a_request_without_response_when_the_run_ends_is_open() -> None:
    records = simulate(make_scenario("small@local", [0.0, 0.9], duration=1.0)).records
    assert records.outcome.tolist() == [RequestOutcome.IN_TIME, RequestOutcome.OPEN]
    assert summary(records).open == 1


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_mean_wait_at_a_node_is_that_of_an_m_d_1_queue(load: float) -> None:
    """Pollaczek and Khinchine: load / (2 (1 - load)) services."""
    options = make_options(deadline=1e3)
    arrivals = poisson(np.random.default_rng(5), load / 0.2, 20_000.0)
    records = simulate(make_scenario("small@local", arrivals.tolist(), options, duration=1e6)).records
    wait = float(records.latency.mean()) - 0.2
    assert wait == pytest.approx(0.2 * load / (2 * (1 - load)), rel=0.08)


def test_the_mean_wait_on_the_link_is_that_of_an_m_d_1_queue() -> None:
    options = make_options(deadline=1e3)
    arrivals = poisson(np.random.default_rng(6), 7.0, 8_000.0)
    records = simulate(make_scenario("small@input", arrivals.tolist(), options, duration=1e6)).records
    assert float(records.latency.mean()) - 0.12 == pytest.approx(0.1 * 0.7 / (2 * 0.3), rel=0.08)


POLICIES: list[Policy[Any]] = [
    WithFallback(),
    WithFallback(eager=True),
    Fixed("trunk", 5),
    AtMeasured("edgent", edgent),
    AtMeasured("neurosurgeon", neurosurgeon_latency),
    AtMeasured("dads", dads(2.0)),
    EdgentDynamic(),
    RandomFeasible(3),
]


@given(
    rates=st.lists(st.floats(0, 3e6), min_size=2, max_size=12),
    arrivals=st.lists(st.floats(0, 20), min_size=1, max_size=25),
    deadline=st.sampled_from([0.1, 0.25, 0.5, 1.0]),
    policy=st.sampled_from(POLICIES),
    fault=st.sampled_from([None, Broken.LINK, Broken.NODE, Broken.SERVER]),
)
@settings(max_examples=150)
def test_no_policy_beats_the_clairvoyant_and_no_request_vanishes(
    rates: list[float], arrivals: list[float], deadline: float, policy: Policy[Any], fault: Broken | None
) -> None:
    options = make_options(deadline)
    link = Bandwidth([1.5 * i for i in range(len(rates))], rates, 1.5 * len(rates))
    names = {Broken.LINK: "up", Broken.NODE: "n", Broken.SERVER: "triton"}
    faults = [Fault(fault, names[fault], 5.0, 8.0)] if fault else []
    scenario = make_scenario(policy, sorted(arrivals), options, link, faults=faults)
    run = simulate(scenario)
    bound, _ = clairvoyant(link, options, scenario.streams[0].arrivals)
    assert bool(np.all(run.records.utility <= bound + 1e-12))
    assert len(run.records.outcome) == len(arrivals)
    found = summary(run.records)
    assert found.requests == len(arrivals)
    counts = [int((run.records.outcome == outcome).sum()) for outcome in RequestOutcome]
    assert sum(counts) == len(arrivals)
    answered = np.isfinite(run.records.answered)
    assert bool(np.all((run.records.by >= 0) == answered))
    assert bool(np.all(run.records.latency[answered] >= options.intercept[run.records.by[answered]] - 1e-9))
    again = simulate(scenario)
    assert again.records.outcome.tolist() == run.records.outcome.tolist()
    assert again.records.joules.tolist() == run.records.joules.tolist()


@given(st.lists(st.floats(1e4, 3e6), min_size=2, max_size=8), st.sampled_from([0.1, 0.3, 0.9]))
@settings(max_examples=40)
def test_with_requests_far_apart_the_oracle_reaches_its_bound(rates: list[float], deadline: float) -> None:
    options = make_options(deadline)
    link = Bandwidth([1.5 * i for i in range(len(rates))], rates, 1.5 * len(rates))
    arrivals = [2.0 * i for i in range(8)]
    run = simulate(make_scenario(Oracle(link), arrivals, options, link))
    bound, _ = clairvoyant(link, options, np.array(arrivals))
    assert run.records.utility.tolist() == pytest.approx(bound.tolist())


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    def run(seed: int) -> list[int]:
        arrivals = poisson(np.random.default_rng(1), 1.0, 60.0).tolist()
        choices: list[int] = simulate(make_scenario(RandomFeasible(seed), arrivals)).records.choice.tolist()
        return choices

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_scenario_with_unknown_places_is_refused() -> None:
    good = make_scenario("small@local", [0.0])
    with pytest.raises(BadValueError, match="no uplink down"):
        replace(good, streams=[replace(good.streams[0], uplink="down")])
    with pytest.raises(BadValueError, match="no server away"):
        replace(good, streams=[replace(good.streams[0], server="away")])
    with pytest.raises(BadValueError, match="fault: no node x"):
        replace(good, faults=[Fault(Broken.NODE, "x", 0.0)])
    with pytest.raises(BadValueError, match="tenant t: weight 0"):
        replace(good, weights={"t": 0.0})
    with pytest.raises(BadValueError, match="two uplinks"):
        Scenario([*good.uplinks, Uplink("up", Bandwidth.constant(1.0))], good.servers, good.streams, 1.0)
    with pytest.raises(BadValueError, match="0 instances"):
        SimulatedServer("x", 0)
    with pytest.raises(BadValueError, match="before it begins"):
        Fault(Broken.LINK, "up", 2.0, 1.0)


def test_two_nodes_share_an_uplink_first_come_first_served() -> None:
    options = make_options()
    one = make_scenario("small@input", [0.0], options)
    other = Stream("s", "u", "m", "up", "triton", options, Fixed("x", 1), np.array([0.05]))
    records = simulate(replace(one, streams=[*one.streams, other])).records
    assert records.latency == pytest.approx([0.12, 0.17])
