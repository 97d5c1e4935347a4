import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning.errors import BadValueError
from edge_planning_lab.replanning.changepoints import RUNS, Runs, aged, censored, new_runs, updated
from messages import mentions

MEGABIT = math.log(1e6)


def after(values: np.ndarray | list[float], runs: Runs | None = None, every: float = 0.5) -> Runs:
    runs = runs or new_runs()
    for value in values:
        runs = updated(aged(runs, every), float(value))
    return runs


def level(runs: Runs) -> float:
    return float((runs.weight.sum(axis=0) * runs.mean).sum())


def noisy(seed: int, count: int, center: float = MEGABIT, spread: float = 0.1) -> np.ndarray:
    return center + spread * np.random.default_rng(seed).standard_normal(count)


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 1e4), st.floats(math.log(1e3), math.log(1e11)), st.sampled_from("sub")),
        min_size=1,
        max_size=60,
    )
)
def test_the_posterior_is_a_distribution_of_bounded_size_whatever_is_observed(
    steps: list[tuple[float, float, str]],
) -> None:
    runs = new_runs()
    for seconds, value, kind in steps:
        runs = aged(runs, seconds)
        runs = updated(runs, value, 0.01) if kind == "s" else censored(runs, value, below=kind == "b")

        assert runs.weight.sum() == pytest.approx(1)
        assert np.isfinite(runs.mean).all()
        assert (runs.kappa > 0).all()
        assert (runs.beta > 0).all()
        assert len(runs.count) <= RUNS


def test_the_level_of_a_noisy_constant_link_is_found_within_two_percent() -> None:
    assert level(after(noisy(1, 200))) == pytest.approx(MEGABIT, abs=0.02)


def test_a_step_to_a_quarter_is_followed_within_three_samples() -> None:
    steady = after(noisy(2, 100))

    stepped = after(noisy(3, 3, MEGABIT - math.log(4)), steady)

    assert level(stepped) == pytest.approx(MEGABIT - math.log(4), abs=0.2)
    assert float(stepped.weight[:, :, stepped.count <= 3].sum()) > 0.9


def test_one_outlier_hardly_moves_the_level_and_is_forgotten_within_five_samples() -> None:
    outlier = after([*noisy(4, 100), MEGABIT - 2])

    assert level(outlier) > MEGABIT - 0.5
    assert level(after(noisy(5, 5), outlier)) == pytest.approx(MEGABIT, abs=0.1)


def test_a_change_is_likelier_after_a_longer_silence() -> None:
    runs = after(noisy(6, 100))

    fresh = [float(aged(runs, seconds).weight[:, :, -2:].sum()) for seconds in (0, 1, 10, 100, 1000)]

    assert fresh[0] < 0.005
    assert fresh == sorted(fresh)
    assert fresh[-1] > 0.5


def test_a_link_that_was_constant_to_the_bit_may_still_change_from_one_moment_to_the_same() -> None:
    runs = after([MEGABIT] * 500)

    for value in (MEGABIT + 8, MEGABIT - 8, MEGABIT + 8):
        runs = updated(aged(runs, 0.0), value)

    assert runs.weight.sum() == pytest.approx(1)
    assert level(runs) > MEGABIT + 1


def test_fast_changes_are_learnt_as_a_high_hazard() -> None:
    rng = np.random.default_rng(7)
    levels = np.repeat(MEGABIT + rng.normal(0, 1, 60), 8)

    often = after(levels + 0.05 * rng.standard_normal(len(levels)))
    never = after(noisy(8, len(levels), spread=0.05))

    assert often.weight[0].sum() < 0.1  # one change in 300 s; there is one every 4 s
    assert never.weight[:2].sum() > 0.9  # one in 30 s or fewer


def test_the_first_sample_counts_far_more_than_the_guess_before_it() -> None:
    assert level(after([math.log(2e7)])) == pytest.approx(math.log(2e7), abs=0.5)


def test_an_uncertain_measurement_moves_the_level_less() -> None:
    runs = aged(after(noisy(9, 50)), 0.5)

    exact, vague = (level(updated(runs, MEGABIT - 1, error)) for error in (0.0, 1.0))

    assert exact < vague < level(runs)


def test_no_reply_lowers_the_level_and_a_sender_without_more_to_send_raises_it() -> None:
    runs = aged(after(noisy(10, 50)), 0.5)

    assert level(censored(runs, MEGABIT - 2, below=True)) < level(runs) - 0.5
    assert level(censored(runs, MEGABIT + 2, below=False)) > level(runs) + 0.5


def test_a_limited_transfer_far_below_the_level_says_nothing() -> None:
    runs = aged(after(noisy(11, 50)), 0.5)

    assert level(censored(runs, MEGABIT - 4, below=False)) == pytest.approx(level(runs), abs=0.02)


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
def test_time_that_runs_backwards_is_refused_by_name(seconds: float) -> None:
    with pytest.raises(BadValueError, match=mentions(f"{seconds} s")):
        aged(new_runs(), seconds)
