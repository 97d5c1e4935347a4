"""The choice of a Triton server: values, margins, ties, and that it comes to rest."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_operator.pool.server_choice import MARGIN, Choice, Rated, choose, lost_servers, value_of
from edge_planning import Infeasible
from edge_planning.plans import Plan, Route, RouteTable
from messages import mentions

A, B, C = Rated("a", 0.9), Rated("b", 0.9), Rated("c", 0.9)
LOCAL = Route("early", None, 0.8, 0, 0.0, 0.03, 0.03, None, 0)
REMOTE = Route("final", "pool", 0.98, 1_000_000, 800_000.0, 0.05, 0.01, 0.01, 8000)
PLAN = Plan(RouteTable((REMOTE, LOCAL), 0.9, 0.0), True, 0.0, 0.1, ())


def test_the_value_is_that_of_the_route_at_the_bandwidth() -> None:
    assert value_of(PLAN, 2e6, deadline=0.1) == 0.98
    assert value_of(PLAN, 2e5, deadline=0.1) == 0.8
    assert value_of(PLAN, None, deadline=0.1) == 0.9
    late = replace(PLAN, table=RouteTable((replace(LOCAL, met_from=None),), 0.0, 0.0))
    assert value_of(late, 2e6, deadline=0.1) == 0.0
    assert value_of(PLAN, 2e6, deadline=0.2) > value_of(PLAN, 2e6, deadline=0.1)
    assert value_of(Infeasible((), None), 2e6, deadline=0.1) < 0


def test_another_server_is_used_only_if_it_is_better_by_the_margin_and_steady() -> None:
    slightly, clearly = replace(B, value=0.9 + MARGIN / 2), replace(B, value=0.9 + 2 * MARGIN)
    assert choose("k", [A, slightly], "a").name == "a"
    assert choose("k", [A, clearly], "a").name == "b"
    assert choose("k", [A, replace(clearly, steady=False)], "a").name == "a"
    assert choose("k", [A, replace(clearly, full=True)], "a").name == "a"


def test_a_lost_server_is_replaced_by_one_that_is_not_steady_too() -> None:
    lost = replace(A, away=True)
    assert choose("k", [lost, replace(B, steady=False)], "a") == Choice("b", left="a")
    assert choose("k", [lost, replace(B, steady=False), C], "a").name == "c"
    assert choose("k", [lost, B, C], "a").replaceable
    assert not choose("k", [lost, B], "a").replaceable


def test_the_first_server_is_remembered_through_a_second_outage() -> None:
    second = choose("k", [replace(A, away=True), replace(B, away=True), C], "b", left="a")
    assert second == Choice("c", left="a", replaceable=False)
    assert choose("k", [A, B, C], "c", left="a").name == "a"
    assert choose("k", [replace(A, steady=False), B, C], "c", left="a").name == "c"
    assert choose("k", [replace(A, value=0.5), B, C], "c", left="a").name == "c"


def test_ties_go_to_the_server_with_fewest_placements_then_by_a_hash_of_the_name() -> None:
    assert choose("k", [replace(A, placed=3), replace(B, placed=2)], None).name == "b"
    names = [choose(f"default/s{number} cam", [A, B], None).name for number in range(200)]
    assert 60 < names.count("a") < 140
    assert choose("k", [B, A], None) == choose("k", [A, B], None)


def test_the_message_names_the_lost_server_and_the_one_in_its_place() -> None:
    choices = [("n1", Choice("b", left="a")), ("n2", Choice("b", left="a")), ("n3", Choice("b"))]
    assert mentions("server a", "b", "n1, n2").search(lost_servers(choices, {"a"}))
    assert lost_servers(choices, set()) == ""


NAMES = ("a", "b", "c", "d")
links = st.fixed_dictionaries({name: st.floats(0, 0.3) for name in NAMES})
servers = st.fixed_dictionaries({name: st.floats(0, 1) for name in NAMES})


@given(
    servers,
    links,
    st.lists(st.tuples(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES))), max_size=6),
)
def test_choices_come_to_rest_whatever_was_lost_before(
    computing: dict[str, float], costs: dict[str, float], outages: list[tuple[set[str], set[str]]]
) -> None:
    """Each server costs the value of its link, which is known once it was used."""
    known: dict[str, float] = {}
    current: str | None = None
    left: str | None = None

    def step(away: set[str], full: set[str]) -> bool:
        """Chooses, and measures the link to the choice. Returns whether the entry node moves."""
        nonlocal current, left
        assumed = known.get(current or "", 0.0)
        rated = [
            Rated(n, computing[n] - known.get(n, assumed), away=n in away, full=n in full) for n in NAMES
        ]
        before = current
        choice = choose("k", rated, current, left)
        current, left = choice.name, choice.left
        known[current] = costs[current]
        return before != current

    for away, full in outages:
        step(away, full)
    moves = [step(set(), set()) for _ in range(12)]
    assert not any(moves[6:])
