"""The budget of moves for accuracy."""

import pytest

from edge_planning.errors import BadValueError
from edge_planning.sharing import MoveBudget


def test_the_moves_of_a_minute_are_left_at_first() -> None:
    assert MoveBudget(10).moves(1e6) == 10


def test_spent_moves_come_back_evenly_over_a_minute() -> None:
    budget = MoveBudget(10).after(10, 100.0)
    assert [budget.moves(now) for now in (100.0, 106.0, 130.0, 160.0, 1000.0)] == [0, 1, 5, 10, 10]


def test_no_window_of_a_minute_has_more_than_twice_the_moves() -> None:
    budget, total = MoveBudget(10), 0
    for second in range(60):
        moves = budget.moves(float(second))
        total += moves
        budget = budget.after(moves, float(second))
    assert 18 <= total <= 20


def test_a_clock_that_stands_still_gives_no_moves_back() -> None:
    budget = MoveBudget(3).after(3, 50.0)
    assert budget.moves(50.0) == budget.moves(40.0) == 0


def test_a_bad_budget_is_named() -> None:
    with pytest.raises(BadValueError, match="per_minute -1"):
        MoveBudget(-1)
