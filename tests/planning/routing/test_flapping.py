"""The number of route switches on a link that flaps is bounded for any link."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_planning.links.estimates import LinkView
from edge_planning.routing.routes import DWELL, HYSTERESIS, RouteRequirement, RouteState, decide

TABLE = (
    RouteRequirement(8e6, True, 0.9),
    RouteRequirement(4e6, True, 0.85),
    RouteRequirement(1e6, True, 0.8),
    RouteRequirement(0, False, 0.7),
)
LOCAL = len(TABLE) - 1

Step = tuple[float, bool, float, frozenset[int]]
PAUSES = st.floats(0.001, 0.7)
ANYTHING = st.tuples(
    PAUSES, st.booleans(), st.floats(0.0, 3e7), st.frozensets(st.integers(0, LOCAL - 1), max_size=2)
)
# Up and down between two levels with a good measurement each time: the worst case of a link.
FLAPS = st.tuples(
    PAUSES, st.just(True), st.sampled_from([0.1e6, 1.05e6, 2e6, 4.2e6, 6e6, 20e6]), st.just(frozenset[int]())
)


def _moves(steps: list[Step], start: int | None = None) -> list[tuple[float, int, int]]:
    """The switches: (second, from, to)."""
    state, now, moves = RouteState(active=start), 0.0, []
    for pause, up, bandwidth, blocked in steps:
        now += pause
        before = state.active
        _, state = decide(TABLE, LinkView(up, bandwidth), state, now, blocked)
        if before is not None and state.active is not None and state.active != before:
            moves.append((now, before, state.active))
    return moves


@given(st.lists(ANYTHING, max_size=150), st.integers(0, LOCAL))
def test_in_any_span_there_are_no_more_switches_than_dwell_times_and_routes(
    steps: list[Step], start: int
) -> None:
    """Counted from any switch: those downward can follow immediately, but each uses up its dwell time."""
    moves = _moves(steps, start)
    for i, (begun, _, _) in enumerate(moves):
        for count, (ended, _, _) in enumerate(moves[i:], 1):
            assert count <= (ended - begun) / DWELL + len(TABLE), (moves[i : i + count], count)


@given(st.lists(FLAPS, max_size=150), st.integers(0, LOCAL))
def test_while_no_hop_fails_upward_switches_wait_out_the_dwell_time_of_the_one_before(
    steps: list[Step], start: int
) -> None:
    for (before, _, _), (at, old, new) in pairwise(_moves(steps, start)):
        assert new > old or at - before >= DWELL - 1e-9


@given(st.lists(FLAPS, max_size=150), st.integers(0, LOCAL))
def test_no_route_is_kept_whose_need_the_estimate_does_not_cover(steps: list[Step], start: int) -> None:
    state, now = RouteState(active=start), 0.0
    for pause, up, bandwidth, blocked in steps:
        now += pause
        index, state = decide(TABLE, LinkView(up, bandwidth), state, now, blocked)
        assert TABLE[index].min_bandwidth <= bandwidth


@given(
    st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(1.0, HYSTERESIS - 0.001)), max_size=100),
    st.integers(1, LOCAL - 1),
)
def test_within_the_hysteresis_of_a_threshold_nothing_moves(
    steps: list[tuple[float, float]], route: int
) -> None:
    """The estimate drifts from the route's requirement, or that of the next one below, to a tenth above."""
    assert _moves([(p, True, TABLE[route - 1].min_bandwidth * f, frozenset()) for p, f in steps], route) == []


@given(st.floats(0.01, 2.0))
def test_a_link_that_comes_and_goes_at_any_pace_costs_one_switch_in_each_dwell_time(hold: float) -> None:
    """A minute, with a decision every 10 ms."""
    steps = [(0.01, int(0.01 * i / hold) % 2 == 0, 20e6, frozenset[int]()) for i in range(6000)]
    moves = _moves(steps, 0)
    assert len(moves) <= 60.0 / DWELL + 1
    assert all(new in (0, LOCAL) for _, _, new in moves)
