"""Waiting times against closed forms and a small discrete-event simulation."""

import heapq
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from math import exp, factorial, inf, log
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning import BadValueError
from edge_planning.costs.queueing import Queue, erlang_c, shared, uplink

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]


def simulated(
    rate: float, draw: Draw, servers: int, seed: int, count: int = 150_000
) -> tuple[Floats, Floats]:
    """Waits and sojourn times of Poisson arrivals, first come first served, after a warm-up of a tenth."""
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / rate, count))
    services = draw(random, count)
    free = [0.0] * servers
    waits = np.empty(count)
    for index, (arrival, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        begin = max(arrival, heapq.heappop(free))
        waits[index] = begin - arrival
        heapq.heappush(free, begin + service)
    warm = count // 10
    return waits[warm:], (waits + services)[warm:]


def constant(random: np.random.Generator, count: int) -> Floats:
    return np.ones(count)


def exponential(random: np.random.Generator, count: int) -> Floats:
    return random.exponential(1.0, count)


def steady(random: np.random.Generator, count: int) -> Floats:
    """Mean 1 and a squared coefficient of variation of 0.25, typical of an inference."""
    return random.gamma(4.0, 0.25, count)


def mixed(random: np.random.Generator, count: int) -> Floats:
    """A mixture of 80 % of 0.25 and 20 % of 4: mean 1, scv 2.25."""
    return np.where(random.random(count) < 0.8, 0.25, 4.0)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.8, 0.95])
def test_one_exponential_server_is_m_m_1(load: float) -> None:
    queue = Queue(load / 0.02, 0.02)
    assert queue.wait == pytest.approx(load / (1 - load) * 0.02)
    assert queue.sojourn == pytest.approx(0.02 / (1 - load))
    assert queue.waiting_probability == pytest.approx(load)
    exact = -log(0.05) * 0.02 / (1 - load)
    assert queue.sojourn_quantile(95) == pytest.approx(exact, rel=0.01)
    assert queue.wait_quantile(99) == pytest.approx(max(0.02 / (1 - load) * log(load / 0.01), 0.0))


@pytest.mark.parametrize("load", [0.1, 0.5, 0.8, 0.95])
def test_a_server_that_always_takes_the_same_time_halves_the_wait(load: float) -> None:
    queue = Queue(load, 1.0, scv=0.0)
    assert queue.wait == pytest.approx(load / (2 * (1 - load)))


def erlang_c_by_definition(servers: int, load: float) -> float:
    last = load**servers / factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize("servers", [1, 2, 4, 16])
@pytest.mark.parametrize("busy", [0.05, 0.5, 0.9, 0.99])
def test_several_exponential_servers_are_m_m_m(servers: int, busy: float) -> None:
    load = busy * servers
    waits = erlang_c_by_definition(servers, load)
    assert erlang_c(servers, load) == pytest.approx(waits)
    assert Queue(load, 1.0, servers=servers).wait == pytest.approx(waits / (servers - load))


@pytest.mark.parametrize("load", [0.4, 0.8])
@pytest.mark.parametrize(
    ("draw", "scv"), [(constant, 0.0), (exponential, 1.0), (steady, 0.25), (mixed, 2.25)]
)
def test_the_mean_wait_at_one_server_is_what_a_simulation_shows(load: float, draw: Draw, scv: float) -> None:
    waits, _ = simulated(load, draw, 1, seed=11)
    assert Queue(load, 1.0, scv).wait == pytest.approx(waits.mean(), rel=0.06)


@pytest.mark.parametrize(
    ("draw", "scv"), [(constant, 0.0), (exponential, 1.0), (steady, 0.25), (mixed, 2.25)]
)
@pytest.mark.parametrize(("servers", "load"), [(2, 0.7), (4, 0.85)])
def test_the_mean_wait_at_several_instances_is_near_what_a_simulation_shows(
    servers: int, load: float, draw: Draw, scv: float
) -> None:
    waits, _ = simulated(load * servers, draw, servers, seed=12)
    assert Queue(load * servers, 1.0, scv, servers).wait == pytest.approx(waits.mean(), rel=0.15)


@pytest.mark.parametrize(
    ("draw", "scv"), [(constant, 0.0), (exponential, 1.0), (steady, 0.25), (mixed, 2.25)]
)
@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (1, 0.8), (4, 0.85)])
def test_the_percentiles_of_the_sojourn_are_near_what_a_simulation_shows(
    servers: int, load: float, draw: Draw, scv: float
) -> None:
    _, sojourns = simulated(load * servers, draw, servers, seed=13)
    ratio = float(Queue(load * servers, 1.0, scv, servers).sojourn_quantile(95) / np.percentile(sojourns, 95))
    assert 0.93 <= ratio <= 1.2  # an error on the safe side
    assert scv > 1 or ratio <= 1.07


def test_constant_times_between_arrivals_halve_the_wait_in_the_formula() -> None:
    assert Queue(0.8, 1.0, arrival_scv=0.0).wait == pytest.approx(Queue(0.8, 1.0).wait / 2)


@pytest.mark.parametrize("load", [1.0, 1.5, 100.0])
def test_from_the_full_load_on_the_wait_is_infinite(load: float) -> None:
    queue = Queue(load, 1.0, 0.0, 1)
    assert queue.wait == inf
    assert queue.wait_quantile(50) == inf
    assert queue.sojourn_quantile(50) == inf
    assert erlang_c(3, 3 * load) == 1.0


@given(st.floats(0, 0.98), st.floats(0, 0.98), st.floats(0.001, 10), st.floats(0, 4), st.integers(1, 20))
def test_more_load_never_waits_less_and_one_more_server_never_waits_more(
    one: float, other: float, service: float, scv: float, servers: int
) -> None:
    light, heavy = sorted((one, other))
    rates = np.array([light, heavy]) * servers / service
    waits = Queue(rates, service, scv, servers).wait
    assert waits[0] <= waits[1] * (1 + 1e-9)
    more = Queue(rates, service, scv, servers + 1).wait
    assert (more <= waits * (1 + 1e-9)).all()


def test_an_idle_station_answers_in_its_service_time() -> None:
    queue = Queue(0.0, 0.03, scv=0.0)
    assert queue.wait == 0.0
    assert queue.sojourn_quantile(99) == pytest.approx(0.03)


def test_arrays_are_each_entry_alone() -> None:
    rates, services = np.array([1.0, 5.0, 20.0]), np.array([0.1, 0.15, 0.2])
    together = Queue(rates, services, 0.5, 2)
    for index in range(3):
        alone = Queue(float(rates[index]), float(services[index]), 0.5, 2)
        assert together.wait[index] == alone.wait
        assert together.sojourn_quantile(90)[index] == alone.sojourn_quantile(90)


def test_services_that_share_a_station_are_their_mixture() -> None:
    queue = shared(np.array([0.32, 0.08]), np.array([0.25, 4.0]))
    assert queue.rate == pytest.approx(0.4)
    assert queue.service == pytest.approx(1.0)
    assert queue.scv == pytest.approx(2.25)
    waits, _ = simulated(0.4, mixed, 1, seed=14)
    assert queue.wait == pytest.approx(waits.mean(), rel=0.06)


def test_stations_are_rows_and_services_columns() -> None:
    queue = shared(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.5, 9.0], [1.0, 1.0]]), 0.0)
    assert queue.wait == pytest.approx([0.25 / 0.5 * 0.5, 0.0])


def test_an_uplink_is_a_queue_of_transfers() -> None:
    # 14,434 bytes at 1 Mbit/s take 115.5 ms; four a second use 46 % of the link.
    queue = uplink(np.array([4.0]), np.array([14_434]), 1e6)
    assert queue.service == pytest.approx(0.115472)
    assert queue.utilisation == pytest.approx(0.461888)
    assert queue.wait == pytest.approx(0.461888 * 0.115472 / (2 * (1 - 0.461888)))


@given(st.floats(1.0, 50.0), st.floats(80, 99.5))
def test_the_quantile_of_the_gamma_distribution_is_right_to_one_percent(
    shape: float, percentile: float
) -> None:
    # An empty M/G/1 queue has only its service time: gamma with the shape 1 / scv.
    queue = Queue(0.0, 1.0, scv=1 / shape)
    exact = import_module("scipy.stats").gamma.ppf(percentile / 100, shape, scale=1 / shape)
    assert queue.sojourn_quantile(percentile) == pytest.approx(exact, rel=0.012)


def test_the_share_that_waits_longer_falls_exponentially() -> None:
    queue = Queue(0.9, 1.0)
    late = 0.9 * exp(-(1 - 0.9) * float(queue.wait_quantile(97)))
    assert late == pytest.approx(0.03)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["rate", "service", "scv", "arrival_scv"])
def test_bad_values_are_named(name: str, value: float) -> None:
    changed: dict[str, Any] = {name: value}
    with pytest.raises(BadValueError, match=f"queue: {name} {value}"):
        replace(Queue(1.0, 0.1), **changed)


def test_other_bad_values_are_named() -> None:
    with pytest.raises(BadValueError, match="queue: 0 servers"):
        Queue(1.0, 0.1, servers=0)
    with pytest.raises(BadValueError, match=r"queue: percentile 100\.0 "):
        Queue(1.0, 0.1).wait_quantile(100.0)
    with pytest.raises(BadValueError, match=r"queue: bandwidth 0\.0 bit/s"):
        uplink(np.array([1.0]), np.array([1.0]), 0.0)
    with pytest.raises(BadValueError, match="queue: rates"):
        shared(np.array([-1.0]), np.array([1.0]))
