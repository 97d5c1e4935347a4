"""Each published method against choices computed by hand."""

from collections.abc import Callable
from math import gamma, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import BadValueError, Candidates, EntryProblem, Slo, candidates
from edge_planning.choosing.choices import choose
from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3
from edge_planning.costs.estimates import class_profile
from edge_planning_lab.alexnet import alexnet
from edge_planning_lab.baselines import (
    Answer,
    AtMeasured,
    EdgentDynamic,
    Measurement,
    Power,
    Request,
    SimulatedCandidates,
    clairvoyant,
    cloud_only,
    dads,
    dads_heavy,
    dads_light,
    edgent,
    local_only,
    neurosurgeon_energy,
    neurosurgeon_latency,
    options_of,
    ranked_splits,
    right_sizing_only,
)
from edge_planning_lab.baselines.edgent import configuration_map, detect, level, new_detection, reward
from edge_planning_lab.baselines.measured import bottlenecks
from edge_planning_lab.baselines.memoryless import RandomFeasible
from edge_planning_lab.simulation import Bandwidth

BANDWIDTHS = st.floats(1e4, 1e8)


@pytest.fixture
def options(request: pytest.FixtureRequest) -> SimulatedCandidates:
    problem: EntryProblem = request.getfixturevalue("edgent")
    return options_of(candidates(problem), 0.1, Power(computing=2.0, sending=1.0))


def every() -> Candidates:
    """The candidates of Edgent's AlexNet on its two published device classes."""
    model = alexnet()
    device, server = class_profile(model, RASPBERRY_PI_3), class_profile(model, DESKTOP)
    return candidates(EntryProblem(model, device, server, 0.0, Slo(0.1)))


EVERY = every()


def name(options: SimulatedCandidates, index: int) -> str:
    return options.names[index]


def test_methods_without_a_link_choose_as_their_names_say(options: SimulatedCandidates) -> None:
    assert name(options, local_only(options).index) == "exit5@local"
    assert name(options, cloud_only(options).index) == "exit5@image"
    assert name(options, right_sizing_only(options).index) == "exit2@local"


def test_right_sizing_answers_with_the_fastest_exit_where_none_is_in_time() -> None:
    tight = options_of(EVERY, 0.01)
    assert name(tight, right_sizing_only(tight).index) == "exit1@local"


@pytest.mark.parametrize(
    ("bandwidth", "chosen"), [(0.0, "exit5@local"), (200e3, "exit5@local"), (2e6, "exit5@image")]
)
def test_neurosurgeon_takes_the_full_models_fastest_cut(
    options: SimulatedCandidates, bandwidth: float, chosen: str
) -> None:
    assert name(options, neurosurgeon_latency(options, bandwidth)) == chosen


def test_neurosurgeon_for_energy_weighs_computing_against_sending(options: SimulatedCandidates) -> None:
    # 125 ms of computing at 2 W are 0.25 J, which equal sending at 1 W for a quarter of a second.
    assert name(options, neurosurgeon_energy(options, 1e6)) == "exit5@image"
    assert name(options, neurosurgeon_energy(options, 98_304 / 0.2)) == "exit5@image"
    assert name(options, neurosurgeon_energy(options, 98_304 / 0.3)) == "exit5@local"


@given(bandwidth=BANDWIDTHS, deadline=st.floats(0.005, 1.0))
@settings(max_examples=60)
def test_edgents_walk_over_the_exits_is_the_planners_choice(bandwidth: float, deadline: float) -> None:
    options = options_of(EVERY, deadline)
    mine = edgent(options, bandwidth)
    theirs = choose(EVERY, deadline, bandwidth)
    assert theirs is not None
    latencies = options.latencies(bandwidth)
    if theirs.met:
        assert options.accuracy[mine] == options.accuracy[theirs.index]
    assert latencies[mine] == pytest.approx(theirs.latency)


@given(bandwidth=BANDWIDTHS)
@settings(max_examples=40)
def test_dads_light_is_never_slower_and_heavy_never_lower_in_throughput(bandwidth: float) -> None:
    options = options_of(EVERY, 0.1)
    full = options.of_exit(4)
    light, heavy = dads_light(options, bandwidth), dads_heavy(options, bandwidth)
    assert options.latencies(bandwidth)[light] == min(options.latencies(bandwidth)[full])
    assert bottlenecks(options, bandwidth)[heavy] == min(bottlenecks(options, bandwidth)[full])
    slow = float(bottlenecks(options, bandwidth)[light])
    assert dads(0.99 / slow)(options, bandwidth) == light
    assert dads(1.01 / slow)(options, bandwidth) == heavy


def test_the_reward_is_the_papers(options: SimulatedCandidates) -> None:
    found = reward(options, 2e6)
    index = options.find("exit5@image")
    seconds = float(options.latencies(2e6)[index])
    assert found[index] == pytest.approx(np.exp(0.78) + 1 / seconds)
    assert found[options.find("exit5@local")] == 0.0


def test_the_configuration_map_holds_the_highest_reward_of_each_state(options: SimulatedCandidates) -> None:
    states = np.array([1e5, 1e6, 1e7])
    rewarded = configuration_map(options, states)
    assert [reward(options, s)[i] for s, i in zip(states, rewarded, strict=True)] == pytest.approx(
        [reward(options, s).max() for s in states]
    )
    accurate = configuration_map(options, states, rewarded=False)
    assert list(accurate) == [edgent(options, float(s)) for s in states]
    assert [name(options, i) for i in accurate] == ["exit2@local", "exit2@local", "exit5@image"]


def test_change_points_are_found_within_a_few_measurements_and_not_without_a_change() -> None:
    rng = np.random.default_rng(2)
    state = new_detection()
    levels = []
    for value in [*rng.normal(2.0, 0.1, 40), *rng.normal(0.5, 0.1, 10)]:
        state = detect(state, float(value), 1 / 50)
        levels.append(level(state, float(value)))
    assert levels[39] == pytest.approx(2.0, abs=0.05)
    assert levels[42] == pytest.approx(0.5, abs=0.15)
    assert max(abs(a - 2.0) for a in levels[10:40]) < 0.1


def student(x: float, freedom: float) -> float:
    """Student's t density."""
    constant = gamma((freedom + 1) / 2) / (sqrt(freedom * pi) * gamma(freedom / 2))
    return float(constant * (1 + x * x / freedom) ** (-(freedom + 1) / 2))


def test_the_posterior_of_changes_is_that_of_enumerating_them() -> None:
    """Two measurements, with or without a change between them, by Student's density, to the last digit."""

    def predictive(past: list[float], value: float) -> float:
        kappa, mean, alpha, beta = 0.1, 1.0, 1.0, 0.1
        for x in past:
            beta += kappa * (x - mean) ** 2 / (2 * (kappa + 1))
            mean, kappa, alpha = (kappa * mean + x) / (kappa + 1), kappa + 1, alpha + 0.5
        scale = sqrt(beta * (kappa + 1) / (alpha * kappa))
        return student((value - mean) / scale, 2 * alpha) / scale

    state = new_detection()
    for value in (1.3, 0.4):
        state = detect(state, value, 0.1)
    weight = np.exp(state.weight)
    first = predictive([], 1.3)
    runs = {
        0: 0.1 * first * (0.1 * predictive([], 0.4) + 0.9 * predictive([1.3], 0.4)),
        1: 0.9 * first * 0.1 * predictive([], 0.4),
        2: 0.9 * first * 0.9 * predictive([1.3], 0.4),
    }
    expected = np.array([runs[int(n)] for n in state.length])
    assert weight / weight.sum() == pytest.approx(expected / expected.sum())


@pytest.mark.parametrize(
    ("policy", "slow", "fast"),
    [
        (AtMeasured("edgent_static", edgent), "exit2@local", "exit5@image"),
        (EdgentDynamic(rewarded=False), "exit2@local", "exit5@image"),
        (AtMeasured("neurosurgeon", neurosurgeon_latency), "exit5@local", "exit5@image"),
    ],
)
def test_policies_follow_what_was_measured_last(
    options: SimulatedCandidates, policy: AtMeasured | EdgentDynamic, slow: str, fast: str
) -> None:
    follow: Callable[..., object] = policy.observe
    state: object = policy.start(options)
    decide: Callable[..., tuple[Answer, object]] = policy.decide
    assert name(options, decide(Request(options), state, 0.0)[0].index) == slow
    for moment in range(5):
        state = follow(Measurement(0.1, 1e6), state, float(moment))
    assert name(options, decide(Request(options), state, 5.0)[0].index) == fast
    for moment in range(5, 10):
        state = follow(Measurement(0.1, 1e4), state, float(moment))
    assert name(options, decide(Request(options), state, 10.0)[0].index) == slow


def test_the_random_one_stays_within_what_would_be_in_time(options: SimulatedCandidates) -> None:
    policy = RandomFeasible(1)
    state = policy.observe(Measurement(1.0, 2e6), policy.start(options), 0.0)
    seen = set()
    for _ in range(200):
        answer, state = policy.decide(Request(options), state, 0.0)
        assert options.latencies(2e6)[answer.index] <= 0.1
        seen.add(answer.index)
    feasible = int((options.latencies(2e6) <= 0.1).sum())
    assert len(seen) == feasible
    assert state[0] == 200


def test_what_is_left_of_a_local_answer_is_what_the_head_did_not_do(options: SimulatedCandidates) -> None:
    rest, head = options.rest, options.head
    image, local = options.find("exit5@image"), options.find("exit1@local")
    assert rest[image, local] == pytest.approx(head[local])
    pool1 = options.find("exit5@pool1")
    assert rest[pool1, local] == pytest.approx(head[local] - head[pool1])
    deep = options.find("exit5@pool5")  # past the branch: only the branch itself is left
    assert rest[deep, local] == pytest.approx(head[local] - head[options.find("exit1@pool1")])
    assert rest[image, pool1] == np.inf


def test_in_hindsight_the_best_split_and_the_bound_are_those_of_trying_all(
    options: SimulatedCandidates,
) -> None:
    link = Bandwidth((0.0, 10.0), (4e6, 2e5), period=20.0)
    arrivals = np.arange(0.5, 20.0, 1.0)
    bound, best = clairvoyant(link, options, arrivals)
    assert bound[:9].tolist() == [0.78] * 9
    assert bound[10:].tolist() == [0.74] * 10
    assert {name(options, int(i)) for i in best[10:]} == {"exit2@local"}
    assert name(options, ranked_splits(link, options, arrivals)[0][0]) == "exit2@local"
    faster = Bandwidth.constant(4e6)
    assert name(options, ranked_splits(faster, options, arrivals)[0][0]) == "exit5@image"


def test_bad_values_are_named(options: SimulatedCandidates) -> None:
    with pytest.raises(BadValueError, match="candidate exit9@image"):
        options.find("exit9@image")
    with pytest.raises(BadValueError, match=r"dads: rate 0\.0"):
        dads(0.0)
    with pytest.raises(BadValueError, match="hazard 1"):
        EdgentDynamic(hazard=1.0)
