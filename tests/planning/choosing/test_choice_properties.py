"""Properties that hold for every model, profile, link and deadline."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_planning import (
    ClassProfile,
    Cut,
    EntryProblem,
    Exit,
    Mode,
    Model,
    Plan,
    Slo,
    Tables,
    Timing,
    candidates,
    choose,
    plan_entry,
)
from edge_planning.choosing.route_tables import best_table, full_map, useful, value

seconds = st.floats(1e-4, 0.2)
bandwidths = st.integers(1, 2_000_000_000)


@dataclass(frozen=True)
class Placement:
    """One exit with one cut, costed by hand."""

    exit: str
    cut: str | None
    accuracy: float
    constant: float
    bits: float

    def at(self, bandwidth: float) -> float:
        return self.constant + (self.bits / bandwidth if self.bits else 0.0)


def placements(problem: EntryProblem) -> Iterator[Placement]:
    """Every exit with every cut, one by one, in the most direct way."""
    assert problem.remote is not None
    for exit_ in problem.model.exits:
        segments = list(exit_.segments())
        entry = [problem.entry.segments[segment].p95 for segment in segments]
        remote = [problem.remote.segments[segment].p95 for segment in segments]
        yield Placement(exit_.name, None, exit_.accuracy, sum(entry), 0.0)
        for at, cut in enumerate(exit_.cuts):
            constant = sum(entry[:at]) + problem.rtt + sum(remote[at:])
            yield Placement(exit_.name, cut.name, exit_.accuracy, constant, cut.size * 8.0)


@st.composite
def problems(draw: st.DrawFn, exits: int = 4) -> EntryProblem:
    trunk = [f"t{i}" for i in range(draw(st.integers(1, 6)))]
    sizes = {name: draw(st.integers(1, 1_000_000)) for name in trunk}
    depths = sorted(draw(st.lists(st.integers(1, len(trunk)), min_size=1, max_size=exits)))
    accuracies = draw(
        st.lists(st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.98]), min_size=len(depths), max_size=len(depths))
    )
    made = tuple(
        Exit(f"exit{n}", f"out{n}", accuracy, tuple(Cut(name, sizes[name]) for name in trunk[:depth]))
        for n, (depth, accuracy) in enumerate(zip(depths, accuracies, strict=True), start=1)
    )
    segments = sorted({segment for exit_ in made for segment in exit_.segments()})
    profiles: list[ClassProfile] = []
    for name in ("edge", "cloud"):
        spread = draw(st.floats(1, 1.5))
        means = [draw(seconds) for _ in segments]
        timings = {
            segment: Timing(mean, mean * spread) for segment, mean in zip(segments, means, strict=True)
        }
        profiles.append(ClassProfile(name, timings))
    return EntryProblem(
        model=Model("m", made),
        entry=profiles[0],
        remote=profiles[1],
        rtt=draw(st.floats(0, 0.05)),
        slo=Slo(draw(st.floats(1e-3, 1.5))),
        tables=Tables(safety=1),
    )


def away_from_ties(problem: EntryProblem, bandwidth: float) -> None:
    """Skips bandwidths at which rounding decides."""
    deadline = problem.slo.latency
    every = list(placements(problem))
    assume(all(abs(each.at(bandwidth) - deadline) > 1e-9 for each in every))


@given(problems(), bandwidths)
def test_the_choice_equals_the_best_of_every_exit_with_every_cut(
    problem: EntryProblem, bandwidth: int
) -> None:
    away_from_ties(problem, bandwidth)
    deadline = problem.slo.latency
    in_time = [each for each in placements(problem) if each.at(bandwidth) <= deadline]
    best = (
        min(in_time, key=lambda each: (-each.accuracy, each.at(bandwidth)))
        if in_time
        else min(placements(problem), key=lambda each: each.at(bandwidth))
    )
    options = candidates(problem)
    choice = choose(options, deadline, bandwidth)
    assert choice is not None
    assert choice.met is bool(in_time)
    assert choice.latency == pytest.approx(best.at(bandwidth), rel=1e-9)
    if in_time:
        assert options.accuracy[choice.index] == best.accuracy


@given(problems(), bandwidths)
def test_the_full_map_holds_the_choice_of_every_bandwidth(problem: EntryProblem, bandwidth: int) -> None:
    away_from_ties(problem, bandwidth)
    options = candidates(problem)
    choice = choose(options, problem.slo.latency, bandwidth)
    assert choice is not None
    left = useful(options)
    ranges = full_map(left, problem.slo.latency).merged()
    index = [index for index, start in ranges if start <= bandwidth][-1]
    assert left.latencies(bandwidth)[index] == pytest.approx(choice.latency, rel=1e-6)
    if choice.met:
        assert left.accuracy[index] == options.accuracy[choice.index]


@given(problems(), st.integers(1, 5), st.floats(1, 2), bandwidths)
def test_a_route_meets_the_slo_wherever_the_table_claims_it(
    problem: EntryProblem, routes: int, safety: float, bandwidth: int
) -> None:
    problem = replace(problem, tables=Tables(routes=routes, safety=safety))
    plan = plan_entry(problem)
    assert isinstance(plan, Plan)
    assert len(plan.table.routes) <= routes + problem.tables.ladder
    route = plan.table.at(bandwidth)
    if route.met_from is not None and bandwidth >= route.met_from:
        taken = next(each for each in placements(problem) if (each.exit, each.cut) == (route.exit, route.cut))
        assert taken.at(bandwidth) <= problem.slo.latency * (1 + 1e-9)
    better = [r for r in plan.table.routes if r.min_bandwidth > 0 and r.accuracy > route.accuracy]
    assert all(
        r.min_bandwidth > bandwidth
        for r in better
        if r.met_from is not None and r.met_from <= r.min_bandwidth
    )


@given(problems(), st.integers(1, 5))
def test_routes_are_ordered_by_bandwidth_and_the_last_one_is_local(
    problem: EntryProblem, routes: int
) -> None:
    plan = plan_entry(replace(problem, tables=Tables(routes=routes)))
    assert isinstance(plan, Plan)
    starts = [route.min_bandwidth for route in plan.table.routes]
    local = [route for route in plan.table.routes if route.cut is None and not route.min_bandwidth]
    above = starts[: len(starts) - len(local) + 1]
    assert above == sorted(set(above), reverse=True)
    assert {*starts[-len(local) :]} == {0}
    assert plan.table.routes[-len(local) :] == tuple(local)
    for before, after in itertools.pairwise(local):
        assert after.latency < before.latency
        assert after.worth is not None
        assert before.worth is not None
        assert after.worth < before.worth
    names = [route.name for route in plan.table.routes]
    assert len(set(names)) == len(names)


@given(problems())
def test_cloud_only_has_one_route_and_that_is_remote(problem: EntryProblem) -> None:
    plan = plan_entry(replace(problem, mode=Mode.CLOUD_ONLY))
    assert isinstance(plan, Plan)
    (route,) = plan.table.routes
    assert (route.exit, route.cut, route.head, route.min_bandwidth) == (
        problem.model.exits[-1].name,
        "t0",
        None,
        0,
    )


@given(problems(), bandwidths, st.floats(1, 100))
def test_more_bandwidth_never_selects_a_less_accurate_exit(
    problem: EntryProblem, bandwidth: int, more: float
) -> None:
    options = candidates(problem)
    before = choose(options, problem.slo.latency, bandwidth)
    after = choose(options, problem.slo.latency, bandwidth * more)
    assert before is not None
    assert after is not None
    if before.met:
        assert after.met
        assert options.accuracy[after.index] >= options.accuracy[before.index]


@given(problems(), bandwidths, st.floats(1, 100))
def test_a_looser_deadline_never_selects_a_less_accurate_exit(
    problem: EntryProblem, bandwidth: int, looser: float
) -> None:
    options = candidates(problem)
    before = choose(options, problem.slo.latency, bandwidth)
    after = choose(options, problem.slo.latency * looser, bandwidth)
    assert before is not None
    assert after is not None
    if before.met:
        assert after.met
        assert options.accuracy[after.index] >= options.accuracy[before.index]


@given(problems())
def test_a_limited_table_never_promises_less_with_more_bandwidth(problem: EntryProblem) -> None:
    plan = plan_entry(problem)
    assert isinstance(plan, Plan)
    kept = [
        r for r in plan.table.routes if r.met_from is not None and r.met_from <= r.min_bandwidth * (1 + 1e-9)
    ]
    accuracies = [route.accuracy for route in kept]
    assert accuracies == sorted(accuracies, reverse=True)


@settings(max_examples=40)
@given(problems(exits=3), st.integers(1, 3))
def test_no_other_table_of_the_same_size_loses_less_accuracy(problem: EntryProblem, routes: int) -> None:
    options = useful(candidates(problem))
    limits = Tables(routes=routes, safety=1.0, least_accuracy=0.0)
    deadline = problem.slo.latency
    reached, _ = value(options, best_table(options, deadline, limits), deadline, limits)
    local = [i for i in range(len(options)) if options.local[i]]
    others = [i for i in range(len(options)) if not options.local[i]]
    possible = max(
        value(options, [home, *few], deadline, limits)[0]
        for home in local
        for count in range(routes)
        for few in itertools.combinations(others, count)
    )
    assert reached >= possible - 1e-9


@given(problems())
def test_the_same_problem_gets_the_same_plan(problem: EntryProblem) -> None:
    assert plan_entry(problem) == plan_entry(problem)


@given(problems(), st.floats(0.5, 1))
def test_a_lowest_accuracy_is_kept_by_every_route_or_the_problem_is_infeasible(
    problem: EntryProblem, lowest: float
) -> None:
    plan = plan_entry(replace(problem, min_accuracy=lowest))
    if isinstance(plan, Plan):
        assert plan.met
        assert min(route.accuracy for route in plan.table.routes) >= lowest
    else:
        top = problem.tables.high
        enough = [each for each in placements(problem) if each.accuracy >= lowest]
        assert min((each.at(top) for each in enough), default=math.inf) > problem.slo.latency * (1 - 1e-9)


@given(problems())
def test_the_parts_of_a_latency_add_up_to_it(problem: EntryProblem) -> None:
    options = candidates(problem)
    for index in range(len(options)):
        assert options.latency(index, 1e6).total == pytest.approx(
            float(options.latencies(1e6)[index]), rel=1e-12
        )
