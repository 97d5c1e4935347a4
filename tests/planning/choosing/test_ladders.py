"""The local routes below the planned one: which exits they have."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_planning import ClassProfile, Cut, EntryProblem, Exit, Model, Plan, Slo, Tables, Timing, plan_entry

CUTS = (Cut("image", 100_000),)
SECONDS = {"one": 0.01, "two": 0.03, "three": 0.05, "four": 0.06}
ACCURACY = {"one": 0.6, "two": 0.7, "three": 0.8, "four": 0.9}
MODEL = Model("digits", tuple(Exit(n, f"{n}_logits", ACCURACY[n], CUTS) for n in SECONDS), memory={})


def problem(margins: dict[str, float], ladder: int = 3) -> EntryProblem:
    """A node whose 95th percentile is a multiple of the mean, for each exit."""
    costs = {
        ("image", f"{name}_logits"): Timing(each, each * margins.get(name, 1.0))
        for name, each in SECONDS.items()
    }
    far = ClassProfile("c", {pair: Timing(10.0, 10.0) for pair in costs})
    found = EntryProblem(MODEL, ClassProfile("c", costs), far, 0.001, Slo(1.0), node="edge-b", peer="cloud")
    return replace(found, tables=Tables(ladder=ladder))


def exits(given: EntryProblem) -> list[str]:
    plan = plan_entry(given)
    assert isinstance(plan, Plan)
    return [route.exit for route in plan.table.routes]


def test_each_takes_at_most_three_quarters_of_the_time_before_and_the_fastest_is_last() -> None:
    assert exits(problem({})) == ["four", "two", "one"]
    assert exits(problem({}, ladder=1)) == ["four", "one"]
    assert exits(problem({}, ladder=0)) == ["four"]


@given(st.fixed_dictionaries({name: st.floats(1.0, 5.0) for name in SECONDS}))
def test_margins_learned_from_requests_do_not_change_the_ladder(margins: dict[str, float]) -> None:
    assert exits(problem(margins)) == ["four", "two", "one"]
