"""Codecs, three tiers, constraints, confidence thresholds and explanations, with results to check by hand.

Entry node: trunk 40 ms, early branch 10 ms, rest 150 ms. Cloud: a tenth of that. Input 100 kB, cut 10 kB.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.chain import equal, instance
from edge_planning import (
    FP32,
    OBJECTIVES,
    BadValueError,
    Candidates,
    ClassProfile,
    Codec,
    Confidence,
    Cut,
    EntryProblem,
    Exit,
    Infeasible,
    IntermediateNode,
    Load,
    LogUniform,
    Model,
    Plan,
    Privacy,
    Slo,
    Tables,
    Timing,
    Weighted,
    candidates,
    choose,
    explain,
    lognormal,
    plan_entry,
)
from messages import mentions

CUTS = (Cut("image", 100_000), Cut("pool", 10_000))
COSTS = {("image", "pool"): 0.04, ("pool", "early_logits"): 0.01, ("pool", "logits"): 0.15}
MODEL = Model(
    "digits", (Exit("early", "early_logits", 0.9, CUTS), Exit("full", "logits", 0.98, CUTS)), memory={}
)


def profile(factor: float) -> ClassProfile:
    return ClassProfile("c", {pair: Timing(s * factor, s * factor) for pair, s in COSTS.items()})


PROBLEM = EntryProblem(MODEL, profile(1.0), profile(0.1), 0.001, Slo(0.1), node="edge-b", peer="cloud")
INTERMEDIATE = IntermediateNode("edge-c", profile(0.5), 1e8, 0.002)
INT8 = Codec("int8", 0.25, {"full": 0.02})


def names(problem: EntryProblem) -> set[str]:
    options = candidates(problem)
    return {options.name(i) for i in range(len(options))}


def find(options: Candidates, name: str) -> int:
    return next(i for i in range(len(options)) if options.name(i) == name)


def test_a_large_response_returns_by_every_hop_and_a_small_one_takes_no_time() -> None:
    def at(response: int, name: str) -> tuple[float, float]:
        exits = tuple(replace(each, response=response) for each in MODEL.exits)
        options = candidates(
            replace(PROBLEM, model=replace(MODEL, exits=exits), intermediates=(INTERMEDIATE,))
        )
        found = find(options, name)
        return float(options.bits[found]), float(options.hop[found])

    assert at(4096, "full@pool") == at(0, "full@pool") == (80_000.0, 0.0)
    assert at(50_000, "full@pool") == (80_000.0 + 400_000.0, 0.0)
    assert at(50_000, "full@local") == (0.0, 0.0)
    assert at(50_000, "full@pool>edge-c") == pytest.approx((0.0, 480_000 / 1e8))
    assert at(50_000, "full@image>edge-c@pool") == pytest.approx((480_000, 1_200_000 / 1e8))
    with pytest.raises(BadValueError, match="response -1 bytes"):
        replace(MODEL.exits[0], response=-1)


@settings(max_examples=150)
@given(st.integers(0, 10**9), st.floats(1e4, 1e9))
def test_the_engine_equals_enumeration_over_modes_codecs_tiers_and_objectives(
    seed: int, bandwidth: float
) -> None:
    assert equal(instance(np.random.default_rng(seed)), bandwidth)


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.floats(1e4, 1e9), st.floats(1, 50))
def test_more_bandwidth_or_a_looser_deadline_never_costs_accuracy(
    seed: int, bandwidth: float, more: float
) -> None:
    problem = replace(instance(np.random.default_rng(seed)), objective=OBJECTIVES["Accuracy"])
    options, deadline = candidates(problem), problem.slo.latency
    before = choose(options, deadline, bandwidth)
    assert before is not None
    if before.met:
        for after in (
            choose(options, deadline, bandwidth * more),
            choose(options, deadline * more, bandwidth),
        ):
            assert after is not None
            assert options.accuracy[after.index] >= options.accuracy[before.index]


def test_a_codec_sends_less_and_costs_the_accuracy_that_is_declared() -> None:
    options = candidates(replace(PROBLEM, codecs=(FP32, INT8)))
    i = find(options, "full@pool:int8")
    assert options.bits[i] == 20_000
    assert options.accuracy[i] == pytest.approx(0.96)
    assert "early@pool:int8" not in names(replace(PROBLEM, codecs=(FP32, INT8)))


def test_three_tiers_add_the_intermediate_stage_and_its_hop() -> None:
    options = candidates(replace(PROBLEM, intermediates=(INTERMEDIATE,)))
    i = find(options, "full@image>edge-c@pool")
    # 8 ms on the LAN, 2 ms round trip, 20 ms at the intermediate node, 1 ms and 15 ms to the cloud and there.
    assert options.intercept[i] == pytest.approx(0.008 + 0.002 + 0.020 + 0.001 + 0.015)
    assert options.bits[i] == 80_000
    alone = find(options, "full@pool>edge-c")
    assert options.latencies(0.0)[alone] == pytest.approx(0.04 + 0.0008 + 0.002 + 0.075)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"privacy": Privacy.LOCAL}, {"early@local", "full@local"}),
        ({"privacy": Privacy.INPUT_STAYS_LOCAL}, {"early@local", "full@local", "early@pool", "full@pool"}),
        ({"must_run_at": frozenset({"cloud"})}, {"early@image", "full@image", "early@pool", "full@pool"}),
        ({"must_not_run_at": frozenset({"edge-b"})}, {"early@image", "full@image"}),
        ({"min_accuracy": 0.95}, {"full@local", "full@image", "full@pool"}),
        (
            {
                "model": replace(MODEL, memory={("image", "pool"): 5.0, ("pool", "logits"): 50.0}),
                "load": Load(memory=10),
            },
            {"early@local", "early@image", "early@pool", "full@image", "full@pool"},
        ),
    ],
)
def test_constraints_leave_what_keeps_them(changes: dict[str, object], left: set[str]) -> None:
    assert names(replace(PROBLEM, **changes)) == left  # type: ignore[arg-type]


def test_an_empty_set_of_candidates_has_its_reason() -> None:
    answer = plan_entry(replace(PROBLEM, privacy=Privacy.LOCAL, must_run_at=frozenset({"cloud"})))
    assert isinstance(answer, Infeasible)
    assert mentions("spec.privacy Local", "cloud").search(answer.reasons[0])


def test_waiting_is_added_where_a_stage_runs() -> None:
    options = candidates(replace(PROBLEM, load=Load(wait=0.01), remote_load=Load(2.0, 0.02)))
    assert options.queue[find(options, "full@image")] == pytest.approx(0.02)
    assert options.queue[find(options, "full@pool")] == pytest.approx(0.03)
    assert options.tail[find(options, "full@pool")] == pytest.approx(0.03)


def test_confident_inputs_leave_early_and_lower_the_means_but_not_the_percentile_of_too_few() -> None:
    few = Confidence(0.8, (0.6, 0.4), (0.97, 0.96))
    options = candidates(replace(PROBLEM, confidences=(few,), active_power=2.0))
    i = find(options, "full?0.8@local")
    assert options.accuracy[i] == pytest.approx(0.6 * 0.97 + 0.4 * 0.96)
    assert options.mean_head[i] == pytest.approx(0.6 * 0.05 + 0.4 * 0.2)
    assert options.joules[i] == pytest.approx(2.0 * (0.6 * 0.05 + 0.4 * 0.2))
    assert options.head[i] == pytest.approx(0.2)


def test_when_more_than_the_percentile_leave_early_the_full_model_is_as_fast_as_the_early_exit() -> None:
    many = Confidence(0.5, (0.97, 0.03), (0.92, 0.9))
    options = candidates(replace(PROBLEM, confidences=(many,)))
    assert options.head[find(options, "full?0.5@local")] == pytest.approx(0.05)
    plan = plan_entry(replace(PROBLEM, slo=Slo(0.055), confidences=(many,)))
    assert isinstance(plan, Plan)
    assert plan.met


def test_with_a_threshold_the_full_model_is_not_planned_locally_without_it() -> None:
    few = Confidence(0.8, (0.6, 0.4), (0.97, 0.96))
    options = candidates(replace(PROBLEM, confidences=(few,)))
    names = {options.name(i) for i in range(len(options))}
    assert {"full?0.8@local", "full@pool", "early@local"} <= names
    # Runtimes evaluate no exit behind a cut.
    assert not names & {"full@local", "full?0.8@pool"}


def test_an_explanation_names_the_winner_first_and_what_beat_the_others() -> None:
    answer = explain(PROBLEM, "digits", "edge-b", 3e6)
    assert [line.name for line in answer.lines if line.reason is None] == ["full@pool"]
    reasons = {line.name: line.reason for line in answer.lines}
    assert reasons["full@local"] == "misses 100ms"
    assert reasons["early@local"] == "full@pool is more accurate"
    assert str(answer).splitlines()[0].split() == [
        *("candidate", "where", "latency", "compute", "transfer", "queue", "margin", "accuracy", "joules"),
        *("why", "not"),
    ]
    assert answer.remedies == ()


def test_an_excluded_candidate_is_not_chosen_and_says_why() -> None:
    answer = explain(PROBLEM, "digits", "edge-b", 3e6, {"full@pool": "does not fit"})
    reasons = {line.name: line.reason for line in answer.lines}
    assert reasons["full@pool"] == "does not fit"
    assert answer.lines[0].reason is None
    assert answer.lines[0].name != "full@pool"
    assert answer.nearest_slo == min(line.latency.total for line in answer.lines if line.name != "full@pool")


def test_if_every_candidate_is_excluded_none_is_chosen() -> None:
    names = [line.name for line in explain(PROBLEM, "digits", "edge-b", 3e6).lines]
    answer = explain(PROBLEM, "digits", "edge-b", 3e6, dict.fromkeys(names, "does not fit"))
    assert {line.reason for line in answer.lines} == {"does not fit"}
    assert (answer.nearest_slo, answer.remedies) == (None, ())


def test_for_an_infeasible_problem_the_sufficient_bandwidth_accuracy_or_capacity_is_returned() -> None:
    answer = explain(replace(PROBLEM, slo=Slo(0.05), min_accuracy=0.95), "digits", "edge-b", 3e6)
    assert answer.nearest_slo == pytest.approx(0.056 + 80_000 / 3e6)
    assert "27 Mbit/s is enough" in answer.remedies[0]
    tight = explain(replace(PROBLEM, slo=Slo(0.05), min_accuracy=0.95, remote=None), "digits", "edge-b")
    _, accuracy, nodes = tight.remedies
    assert mentions("spec.slo.minAccuracy", "0.90").search(accuracy)
    assert mentions("nodes", "3.8 times").search(nodes)


@pytest.mark.parametrize(
    "distribution", [LogUniform(1e5, 1e8), Weighted((1e6, 4e6), (1, 3)), lognormal(5e6, 1)]
)
def test_a_distributions_parts_sum_to_the_whole(distribution: LogUniform | Weighted) -> None:
    low, high = np.array([0.0, 2e6]), np.array([2e6, math.inf])
    assert distribution.share(low, high).sum() == pytest.approx(1)
    whole = distribution.inverse(np.array([0.0]), np.array([math.inf]))
    assert distribution.inverse(low, high).sum() == pytest.approx(float(whole[0]))


def test_a_table_is_made_for_the_bandwidths_that_there_are() -> None:
    slow = plan_entry(replace(PROBLEM, tables=Tables(distribution=Weighted((1e5, 1e6)))))
    assert isinstance(slow, Plan)
    assert slow.table.accuracy == pytest.approx(0.9)
    mixed = plan_entry(replace(PROBLEM, tables=Tables(distribution=Weighted((1e5, 5e6), (1, 3)))))
    assert isinstance(mixed, Plan)
    assert mixed.table.accuracy == pytest.approx(0.25 * 0.9 + 0.75 * 0.98)


def test_cuts_that_are_sets_of_tensors_have_seconds_of_their_own() -> None:
    exit_ = Exit("full", "y", 0.9, (Cut("x", 100), Cut(("a", "b"), 50)))
    classes = [ClassProfile("c", {}, before={"full": (0.0, 0.03, 0.1)}) for _ in range(2)]
    options = candidates(EntryProblem(Model("m", (exit_,)), classes[0], classes[1], 0.0, Slo(1)))
    i = find(options, "full@a+b")
    assert (options.head[i], options.tail[i]) == (pytest.approx(0.03), pytest.approx(0.07))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Load(wait=math.nan), "load: wait nan"),
        (lambda: IntermediateNode("h", profile(1), -1.0), "h: bandwidth -1.0 bit/s"),
        (lambda: Codec("int8", 0.25, {"e": 2.0}), "codec int8: loss 2.0 at exit e"),
        (lambda: Confidence(0.5, (0.5, 0.4), (1, 1)), "confidence 0.5: leaving .* 0.9"),
        (lambda: replace(PROBLEM, must_run_at=frozenset({"mars"})), "place mars"),
        (
            lambda: plan_entry(replace(PROBLEM, objective=OBJECTIVES["Latency"])),
            "objective Latency: has no route",
        ),
        (lambda: plan_entry(replace(PROBLEM, objective=OBJECTIVES["Cost"])), "requires spec.prices"),
        (lambda: Weighted(()), "weighted bandwidths: no values"),
        (
            lambda: Model(
                "m", (Exit("a", "p", 0.5, CUTS), Exit("b", "q", 0.9, CUTS[:1]), Exit("c", "r", 1, CUTS))
            ),
            "model m: .*order.* b .* a",
        ),
    ],
)
def test_bad_values_are_named(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(BadValueError, match=words):
        make()


@pytest.mark.parametrize(("routes", "accuracy"), [(2, 0.5), (3, 0.7)])
def test_a_distribution_may_reach_below_the_usual_range(routes: int, accuracy: float) -> None:
    small, full = Exit("small", "s", 0.5, (Cut("x", 250),)), Exit("full", "f", 0.9, (Cut("x", 250),))
    slow = ClassProfile("c", {("x", "s"): Timing(9, 9), ("x", "f"): Timing(9, 9)})
    fast = ClassProfile("t", {("x", "s"): Timing(0.1, 0.1), ("x", "f"): Timing(0.25, 0.25)})
    tables = Tables(routes=routes, distribution=Weighted((1e4, 4e4)))
    plan = plan_entry(EntryProblem(Model("m", (small, full)), slow, fast, 0.0, Slo(0.35), tables=tables))
    assert isinstance(plan, Plan)
    assert plan.table.accuracy == pytest.approx(accuracy)  # small from 8 kbit/s, full from 20 kbit/s


def measured(name: str, ratio: float, **losses: float) -> Codec:
    """A codec whose loss for the full model is known by cut."""
    return Codec(name, ratio, at={("full", cut): loss for cut, loss in losses.items()})


def test_a_loss_known_by_cut_counts_at_that_cut_and_the_others_cannot_be_used() -> None:
    codecs = (FP32, measured("int8", 0.25, pool=0.03), measured("fp16", 0.5, image=0.0, pool=0.01))
    options = candidates(replace(PROBLEM, codecs=codecs))
    accuracy = {options.name(i): float(options.accuracy[i]) for i in range(len(options))}
    assert accuracy["full@pool:int8"] == pytest.approx(0.95)
    assert accuracy["full@pool:fp16"] == pytest.approx(0.97)
    assert accuracy["full@image:fp16"] == pytest.approx(0.98)
    assert "full@image:int8" not in accuracy
    assert not [name for name in accuracy if name.startswith("early@") and ":" in name]


def test_on_the_way_to_an_intermediate_node_every_cut_is_tried_with_its_own_loss() -> None:
    codecs = (FP32, measured("int8", 0.25, image=0.2, pool=0.0))
    options = candidates(replace(PROBLEM, codecs=codecs, intermediates=(INTERMEDIATE,)))
    accuracy = {options.name(i): float(options.accuracy[i]) for i in range(len(options))}
    assert accuracy["full@image>edge-c:int8"] == pytest.approx(0.78)
    assert accuracy["full@image>edge-c@pool:int8"] == pytest.approx(0.78)
    assert accuracy["full@pool>edge-c:int8"] == pytest.approx(0.98)


def test_a_loss_by_cut_that_is_not_a_share_is_refused() -> None:
    with pytest.raises(BadValueError, match=mentions("codec int8", "loss 1.5", "exit full", "pool")):
        measured("int8", 0.25, pool=1.5)


def test_where_an_intermediate_node_is_always_the_better_answer_the_local_route_is_still_the_last() -> None:
    quick = replace(INTERMEDIATE, profile=profile(0.01))
    plan = plan_entry(replace(PROBLEM, remote=None, slo=Slo(0.5), intermediates=(quick,)))
    assert isinstance(plan, Plan)
    first, *local = plan.table.routes
    assert (first.intermediate, first.min_bandwidth) == ("edge-c", 0)
    assert [(route.name, route.min_bandwidth, route.intermediate) for route in local] == [
        ("full@local", 0, None),
        ("early@local", 0, None),
    ]
