import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import EntryProblem, plan_entry
from edge_planning.errors import BadValueError
from edge_planning.plans import Plan
from edge_planning_lab.replanning import (
    BandwidthSample,
    Decision,
    LinkDown,
    NoReply,
    Nothing,
    Observation,
    ProbeSent,
    Replan,
    RoundTrip,
    Routes,
    State,
    Stay,
    Switch,
    SwitchingSettings,
    as_document,
    from_document,
    replan,
    routes_of,
)

ROUTES = routes_of(
    ["full", "middle", "early"],
    [0.05, 0.06, 0.08],
    [100e3, 20e3, 0],
    [0.98, 0.94, 0.86],
    deadline=0.1,
    rtt=0.01,
)
REMOTE = routes_of(["full", "middle"], [0.05, 0.06], [100e3, 20e3], [0.98, 0.94], deadline=0.1)


def run(
    observations: list[Observation],
    state: State | None = None,
    every: float = 0.5,
    start: float = 0.0,
    routes: Routes = ROUTES,
) -> tuple[list[Decision], State]:
    state, decisions = state or State(), []
    for k, observation in enumerate(observations):
        decision, state = replan(routes, observation, state, start + k * every)
        decisions.append(decision)
    return decisions, state


def samples(seed: int, count: int, bandwidth: float, spread: float = 0.1) -> list[Observation]:
    rng = np.random.default_rng(seed)
    return [BandwidthSample(float(bandwidth * np.exp(spread * rng.standard_normal()))) for _ in range(count)]


@pytest.mark.parametrize("bandwidth", [0.5e6, 2e6, 2.3e6])
@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_a_noisy_constant_link_makes_no_more_than_a_handful_of_switches(
    bandwidth: float, spread: float
) -> None:
    decisions, state = run(samples(1, 1500, bandwidth, spread))

    switches = [decision for decision in decisions if isinstance(decision, Switch)]
    assert len(switches) <= 6  # the first choice included
    assert state.switches == len(switches) - 1


def test_a_step_down_is_followed_within_two_samples() -> None:
    _, state = run(samples(2, 100, 5e6))
    assert state.route == "full"

    decisions, state = run(samples(3, 2, 0.2e6), state, start=50)

    assert state.route == "early"
    assert any("no longer safe" in decision.reason for decision in decisions)


def test_a_step_up_is_followed_when_it_has_lasted_for_the_dwell_time() -> None:
    _, state = run(samples(4, 100, 0.2e6))
    assert state.route == "early"

    decisions, state = run(samples(5, 20, 5e6), state, start=50)

    moments = [50 + 0.5 * k for k, decision in enumerate(decisions) if isinstance(decision, Switch)]
    assert state.route == "full"
    assert 52 <= moments[0] <= 56


@pytest.mark.parametrize("period", [1, 3, 10])
def test_a_flapping_link_never_causes_more_than_two_switches_in_a_dwell_time(period: int) -> None:
    flapping: list[Observation] = []
    for k in range(400):
        flapping += samples(k, 1, 5e6 if (k // period) % 2 else 0.1e6)

    decisions, _ = run(flapping, every=0.25)

    moments = [0.25 * k for k, decision in enumerate(decisions) if isinstance(decision, Switch)]
    assert all(third - first >= 2.0 for first, third in zip(moments, moments[2:], strict=False))


def test_a_link_that_is_down_leads_to_the_local_route_at_once_and_its_return_back_within_a_dwell_time() -> (
    None
):
    _, state = run(samples(6, 50, 5e6))

    decision, state = replan(ROUTES, LinkDown(), state, 25.0)
    assert decision == Switch(2, "early", decision.reason)
    assert "down" in decision.reason
    assert state.next_probe == 25.25

    _, state = run(samples(7, 12, 5e6), state, start=26)
    assert state.route == "full"
    assert state.next_probe is None


def test_probes_come_one_at_a_time_and_later_each_time_up_to_the_last() -> None:
    _, state = run(samples(8, 20, 5e6))
    _, state = replan(ROUTES, LinkDown(), state, 10.0)
    waits, now = [], 10.0
    for _ in range(5):
        assert state.next_probe is not None
        waits.append(state.next_probe - now)
        now = state.next_probe
        _, state = replan(ROUTES, ProbeSent(), state, now)
        assert state.next_probe is None
        _, state = replan(ROUTES, Nothing(), state, now + 0.1)
        assert state.next_probe is None  # one is in flight
        now += 0.2
        _, state = replan(ROUTES, NoReply(8000, 0.2), state, now)

    assert waits == pytest.approx([0.25, 0.5, 1, 1, 1])


def test_a_probe_that_is_never_answered_is_given_up() -> None:
    _, state = run([*samples(9, 20, 5e6), LinkDown(), ProbeSent()])

    _, state = replan(ROUTES, Nothing(), state, 30.0)

    assert state.probing is None
    assert state.next_probe is not None


def test_a_link_that_works_is_probed_only_while_the_local_route_answers() -> None:
    _, remote = run(samples(10, 20, 5e6))
    _, local = run(samples(10, 20, 0.1e6))

    assert remote.next_probe is None
    assert local.next_probe == 9.5 + SwitchingSettings().idle_probe


def test_two_silent_transfers_make_a_link_count_as_down() -> None:
    _, state = run(samples(11, 50, 5e6))

    _, state = run([NoReply(100e3, 0.1), NoReply(100e3, 0.1)], state, start=25)

    assert not state.up
    assert state.route == "early"


def test_an_answered_probe_of_the_round_trip_makes_the_link_count_as_up() -> None:
    _, state = run([*samples(22, 50, 5e6), LinkDown()])
    assert not state.up

    _, state = replan(ROUTES, RoundTrip(0.01), state, 26.0)

    assert state.up
    assert state.probing is None


def test_a_table_without_a_local_route_stays_as_it_is_while_the_link_is_down() -> None:
    _, state = run(samples(23, 50, 5e6), routes=REMOTE)

    decision, state = replan(REMOTE, LinkDown(), state, 26.0)

    assert isinstance(decision, Stay)
    assert state.route == "full"


def test_silence_widens_the_forecast_until_a_route_is_no_longer_worth_its_risk() -> None:
    _, state = run([*samples(24, 40, 0.6e6), *samples(12, 60, 2.6e6, 0.02)])
    assert state.route == "full"

    moments = [50.0 + 2 * k for k in range(100)]
    routes = []
    for now in moments:
        _, state = replan(ROUTES, Nothing(), state, now)
        routes.append(state.route)

    assert routes[0] == "full"
    assert routes[-1] in ("middle", "early")


def test_a_round_trip_that_the_plan_does_not_know_asks_for_a_new_table_when_it_lasts() -> None:
    _, state = run(samples(13, 20, 5e6))

    decisions, _ = run([RoundTrip(0.04)] * 40, state, every=1.0, start=10)

    last = decisions[-5]
    replans = [decision for decision in decisions if isinstance(decision, Replan)]
    assert len(replans) == 1
    assert "40 ms" in replans[0].reason
    assert "10 ms" in replans[0].reason
    assert isinstance(last, Stay)


def test_a_round_trip_that_grew_is_in_the_choice_at_once() -> None:
    _, state = run(samples(14, 50, 2.6e6, 0.02))
    assert state.route == "full"

    decisions, _ = run([RoundTrip(0.04)] * 8, state, start=25)

    assert any(isinstance(decision, Switch) and decision.route != "full" for decision in decisions)


def test_a_table_in_which_nothing_keeps_the_deadline_asks_for_a_new_one() -> None:
    decisions, _ = run(samples(15, 80, 0.1e6), routes=REMOTE)

    replans = [decision for decision in decisions if isinstance(decision, Replan)]
    assert replans
    assert "P >= 0.5" in replans[0].reason


def test_a_table_that_loses_against_all_candidates_asks_for_a_new_one() -> None:
    few = routes_of(["full", "early"], [0.05, 0.08], [100e3, 0], [0.98, 0.86], deadline=0.1)
    state, decisions = State(), []
    for k, sample in enumerate(samples(16, 80, 1e6)):
        decision, state = replan(few, sample, state, k * 0.5, alternatives=ROUTES)
        decisions.append(decision)

    replans = [decision for decision in decisions if isinstance(decision, Replan)]
    assert replans
    assert "middle" in replans[0].reason


def test_a_planned_table_is_replanned_as_it_is(edgent: EntryProblem) -> None:
    plan = plan_entry(edgent)
    assert isinstance(plan, Plan)
    state = State()
    for k, sample in enumerate(samples(17, 10, 8e6)):
        _, state = replan(plan.table, sample, state, float(k))
    assert state.route == "exit5@image"

    decision, state = replan(plan.table, LinkDown(), state, 20.0)

    assert isinstance(decision, Switch)
    assert decision.route == next(route.name for route in plan.table.routes if route.cut is None)


def test_a_new_table_without_the_present_route_is_chosen_from_afresh() -> None:
    _, state = run(samples(18, 20, 5e6))

    decision, state = replan(routes_of(["other"], [0.1], [0], [0.5], deadline=0.2), Nothing(), state, 11.0)

    assert isinstance(decision, Switch)
    assert state.route == "other"


def test_the_same_observations_lead_to_the_same_decisions_and_change_no_state() -> None:
    _, state = run(samples(19, 30, 2e6))
    before = json.dumps(as_document(state))

    first, _ = run(samples(20, 30, 2e6, 0.5), state, start=15)
    second, _ = run(samples(20, 30, 2e6, 0.5), state, start=15)

    assert first == second
    assert json.dumps(as_document(state)) == before


observations = st.one_of(
    st.builds(BandwidthSample, st.floats(0, 1e10), st.floats(0, 2), st.booleans()),
    st.builds(NoReply, st.floats(1, 1e8), st.floats(0.001, 100)),
    st.builds(RoundTrip, st.floats(0, 10)),
    st.sampled_from([LinkDown(), ProbeSent(), Nothing()]),
)


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(st.floats(0, 100), observations), max_size=25))
def test_a_saved_state_continues_as_without_a_restart(
    steps: list[tuple[float, Observation]],
) -> None:
    state, now = State(), 0.0
    for seconds, observation in steps:
        now += seconds
        decision, state = replan(ROUTES, observation, state, now)
        assert isinstance(decision, Stay | Switch | Replan)
        assert state.route in ROUTES.names
        assert state.up or state.route == "early"

    restored = from_document(json.loads(json.dumps(as_document(state))))

    decision, after = replan(ROUTES, BandwidthSample(1e6), state, now + 1)
    again, after_too = replan(ROUTES, BandwidthSample(1e6), restored, now + 1)
    assert decision == again
    assert as_document(after) == as_document(after_too)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 0}, "state: version 0"),
        ({"runs": {}}, "state .*'weight'"),
        ({"calibration": [0.0]}, "1 shifts"),
        ({"up": "?"}, "up .*state .*'[?]'"),
        ({"seen": "now"}, "seen .*state .*'now'"),
    ],
)
def test_a_document_that_is_not_a_state_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadValueError, match=message):
        from_document(as_document(State()) | change)


def test_a_document_with_weights_of_another_shape_is_refused() -> None:
    document = as_document(State())
    document["runs"]["weight"] = [[[1.0]]]

    with pytest.raises(BadValueError, match="state: runs"):
        from_document(document)


def test_reasons_have_the_numbers() -> None:
    decisions, _ = run(samples(21, 20, 5e6))

    first, last = decisions[0], decisions[-1]
    assert "P = " in first.reason
    assert "P = 1.00" in last.reason or "P = 0.99" in last.reason
    assert "expected accuracy 0.9" in last.reason


@pytest.mark.parametrize(
    "values", [{"price": -1.0}, {"dwell": -1.0}, {"silence": 0}, {"objective": 1.5}, {"first_probe": 0.0}]
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(BadValueError):
        SwitchingSettings(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("bandwidth", [-1.0, math.inf, math.nan])
def test_a_sample_that_is_not_a_bandwidth_is_refused_by_name(bandwidth: float) -> None:
    with pytest.raises(BadValueError, match=f"bandwidth {bandwidth} bit/s"):
        BandwidthSample(bandwidth)
