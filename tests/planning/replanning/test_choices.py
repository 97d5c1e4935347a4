import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning import EntryProblem, plan_entry
from edge_planning.errors import BadValueError
from edge_planning.plans import Plan
from edge_planning_lab.replanning import (
    BandwidthSample,
    Forecast,
    Routes,
    State,
    observed,
    prospects,
    routes_of,
    routes_of_table,
)


def certain(bandwidth: float, spread: float = 0.05) -> Forecast:
    """A log-normal forecast around a bandwidth."""
    one = np.ones(1)
    ends = np.array([0.0, 1.0])
    return Forecast(one, one * math.log(bandwidth), one * spread, one * 1e6, ends, ends)


@pytest.fixture
def routes() -> Routes:
    """The full exit needs 2 Mbit/s, the middle one 500 kbit/s, the early one nothing."""
    return routes_of(
        ["full", "middle", "early"],
        [0.05, 0.06, 0.08],
        [100e3, 20e3, 0],
        [0.98, 0.94, 0.86],
        deadline=0.1,
    )


def test_thresholds_are_what_the_bits_need_in_the_time_that_is_left(routes: Routes) -> None:
    assert routes.thresholds() == pytest.approx([2e6, 0.5e6, 0])


def test_a_slower_round_trip_raises_the_thresholds_of_remote_routes_only(routes: Routes) -> None:
    assert routes.thresholds(0.025) == pytest.approx([4e6, 20e3 / 0.015, 0])
    assert routes.thresholds(0.1).tolist() == [math.inf, math.inf, 0]


@pytest.mark.parametrize(("bandwidth", "best"), [(4e6, 0), (2.3e6, 0), (1.9e6, 1), (0.6e6, 1), (0.4e6, 2)])
def test_a_sure_forecast_leads_to_the_most_accurate_route_in_time(
    routes: Routes, bandwidth: float, best: int
) -> None:
    assert prospects(routes, certain(bandwidth)).best == best


def test_the_expected_accuracy_is_that_of_answers_in_time(routes: Routes) -> None:
    found = prospects(routes, certain(2e6), price=0.5)

    assert found.on_time == pytest.approx([0.5, 1, 1], abs=1e-6)
    assert found.accuracy == pytest.approx([0.49, 0.94, 0.86], abs=1e-6)
    assert found.utility == pytest.approx([0.24, 0.94, 0.86], abs=1e-6)


def test_a_priced_miss_needs_a_surer_route(routes: Routes) -> None:
    forecast = certain(2e6 * math.exp(1.8 * 0.1), 0.1)  # P(full in time) = 0.964

    assert prospects(routes, forecast).best == 0  # 0.964 * 0.98 > 0.94
    assert prospects(routes, forecast, price=1.0).best == 1


def test_a_fallback_turns_a_miss_into_a_less_accurate_answer(routes: Routes) -> None:
    with_fallback = routes_of(
        routes.names, [0.05, 0.06, 0.08], [100e3, 20e3, 0], [0.98, 0.94, 0.86], deadline=0.1,
        fallback=[0.86, 0.86, 0],
    )  # fmt: skip

    found = prospects(with_fallback, certain(2e6), price=10.0)

    assert found.answered.tolist() == [1, 1, 1]
    assert found.utility == pytest.approx([0.92, 0.94, 0.86], abs=1e-6)


def test_an_objective_goes_before_accuracy(routes: Routes) -> None:
    forecast = certain(2e6 * math.exp(2.05 * 0.1), 0.1)  # P(full in time) = 0.98

    assert prospects(routes, forecast, objective=0.97).best == 0
    assert prospects(routes, forecast, objective=0.99).best == 1


def test_where_no_route_reaches_the_objective_the_one_most_often_in_time_answers(routes: Routes) -> None:
    remote = routes_of(["full", "middle"], [0.05, 0.06], [100e3, 20e3], [0.98, 0.1], deadline=0.1)

    assert prospects(remote, certain(0.5e6, 0.3), objective=0.99).best == 1


def test_without_a_link_only_what_needs_none_is_in_time(routes: Routes) -> None:
    found = prospects(routes, None)

    assert found.best == 2
    assert found.on_time.tolist() == [0, 0, 1]


def test_among_equally_accurate_routes_the_faster_one_answers() -> None:
    twins = routes_of(["slow", "fast"], [0.05, 0.02], [10e3, 10e3], [0.9, 0.9], deadline=1.0)

    assert prospects(twins, certain(1e7)).best == 1
    assert prospects(twins, None).best == 1


@given(factor=st.floats(1, 1e3), bandwidth=st.floats(1e4, 1e8), spread=st.floats(0.01, 2))
def test_more_bandwidth_never_lowers_the_expected_utility(
    factor: float, bandwidth: float, spread: float
) -> None:
    routes = routes_of(["a", "b", "c"], [0.05, 0.06, 0.08], [1e5, 2e4, 0], [0.98, 0.94, 0.86], deadline=0.1)

    less, more = (
        prospects(routes, certain(speed, spread), price=0.5) for speed in (bandwidth, bandwidth * factor)
    )

    assert more.utility[more.best] >= less.utility[less.best] - 1e-9


def test_the_routes_of_a_planned_table_keep_its_thresholds(edgent: EntryProblem) -> None:
    plan = plan_entry(edgent)
    assert isinstance(plan, Plan)

    routes = routes_of_table(plan.table)

    assert routes.deadline == pytest.approx(0.1, rel=1e-3)
    wanted = [route.met_from if route.met_from is not None else math.inf for route in plan.table.routes]
    assert routes.thresholds() == pytest.approx(wanted, rel=1e-3)
    local = [route.cut is None for route in plan.table.routes]
    fallback = routes_of_table(plan.table, has_fallback=True).fallback.tolist()
    assert fallback == [0.0 if here else 0.74 for here in local]


def test_a_forecast_from_samples_picks_a_route_with_room_to_spare(routes: Routes) -> None:
    rng = np.random.default_rng(5)
    state = State()
    for second in range(100):
        state = observed(state, BandwidthSample(2.2e6 * math.exp(0.2 * rng.standard_normal())), float(second))

    assert prospects(routes, state.forecast(100)).best == 1  # on average full would be in time


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": [-0.1]}, "seconds"),
        ({"bits": [math.nan]}, "bits"),
        ({"accuracy": [0.9, 0.8]}, "accuracy"),
        ({"deadline": 0.0}, r"deadline 0\.0 s"),
    ],
)
def test_routes_that_make_no_sense_are_refused_by_name(change: dict[str, list[float]], message: str) -> None:
    values = {"seconds": [0.1], "bits": [0], "accuracy": [0.9], "deadline": 1.0} | change

    with pytest.raises(BadValueError, match=message):
        routes_of(["only"], **values)  # type: ignore[arg-type]


def test_no_route_at_all_is_refused() -> None:
    with pytest.raises(BadValueError, match="routes: "):
        routes_of([], [], [], [], deadline=1.0)
