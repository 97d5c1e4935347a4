"""The integral of a link's bandwidth: exact, and equal for single values and arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_planning import BadValueError
from edge_planning_lab.simulation import Bandwidth, LognormalProcess, OutageProcess, read_trace

RATES = st.lists(st.sampled_from([0.0, 0.5e6, 1e6, 3e6]), min_size=1, max_size=6)


def test_a_transfer_over_two_rates_takes_the_time_that_a_pencil_gives() -> None:
    link = Bandwidth((0.0, 1.0), (1e6, 2e6))
    assert link.finish(0.5, 500_000) == pytest.approx(1.0)
    assert link.finish(0.5, 1_500_000) == pytest.approx(1.5)
    assert link.carried(3.0) == pytest.approx(5e6)
    assert link.finish(0.25, 0.0) == 0.25


def test_a_repeated_trace_continues_at_its_beginning() -> None:
    link = Bandwidth((0.0, 1.0), (1e6, 3e6), period=2.0)
    assert link.rate(2.5) == 1e6
    assert link.carried(5.0) == pytest.approx(9e6)
    assert link.finish(1.5, 2_500_000) == pytest.approx(3.0)
    assert link.finish(0.0, 4_000_000) == pytest.approx(2.0)
    assert link.finish(0.0, 8_500_000) == pytest.approx(4.5)


def test_nothing_crosses_a_dead_link_and_what_waits_crosses_when_it_is_back() -> None:
    dead = Bandwidth.constant(0.0)
    assert dead.finish(1.0, 8.0) == np.inf
    gap = Bandwidth((0.0, 1.0, 3.0), (1e6, 0.0, 1e6))
    assert gap.finish(0.5, 1_000_000) == pytest.approx(3.5)
    assert gap.finish(0.0, 1_000_000) == pytest.approx(1.0)
    ends = Bandwidth((0.0, 1.0), (1e6, 0.0))
    assert ends.finish(0.5, 600_000) == np.inf


def test_an_outage_takes_the_bandwidth_away_for_its_time_only() -> None:
    link = Bandwidth((0.0, 2.0), (1e6, 2e6), period=4.0).cut([(1.0, 5.0)], horizon=10.0)
    assert [link.rate(t) for t in (0.5, 1.0, 4.9, 5.0, 6.0)] == [1e6, 0.0, 0.0, 1e6, 2e6]
    assert link.finish(0.5, 1_000_000) == pytest.approx(5.5)


@given(RATES, st.one_of(st.none(), st.floats(0.1, 2.0)), st.floats(0, 20), st.floats(1.0, 2e7))
def test_a_transfer_ends_when_its_bits_are_carried(
    rates: list[float], extra: float | None, start: float, bits: float
) -> None:
    times = [0.75 * i for i in range(len(rates))]
    link = Bandwidth(times, rates, None if extra is None else times[-1] + extra)
    end = link.finish(start, bits)
    many = float(link.finish_many(np.array([start]), bits)[0])
    assert many == pytest.approx(end, rel=1e-9)
    if np.isfinite(end):
        assert link.carried(end) - link.carried(start) == pytest.approx(bits, rel=1e-6, abs=1e-2)
        assert float(link.carried_many(np.array([end]))[0]) == pytest.approx(link.carried(end), abs=1e-2)


@pytest.mark.parametrize(
    ("times", "rates", "period", "said"),
    [
        ((0.0,), (-1.0,), None, r"bandwidth: \[-1\.\] bit/s"),
        ((0.0,), (float("nan"),), None, r"bandwidth: \[nan\] bit/s"),
        ((1.0,), (1.0,), None, r"begins at 1\.0 s"),
        ((0.0, 0.0), (1.0, 1.0), None, "do not rise"),
        ((0.0, 1.0), (1.0,), None, "2 times but 1 rates"),
        ((0.0, 1.0), (1.0, 1.0), 1.0, r"period 1\.0 s"),
    ],
)
def test_a_bad_value_is_named(
    times: tuple[float, ...], rates: tuple[float, ...], period: float | None, said: str
) -> None:
    with pytest.raises(BadValueError, match=said):
        Bandwidth(times, rates, period)


def test_a_trace_holds_each_rate_until_the_next_line_and_repeats() -> None:
    link = read_trace("10.0 1.5\n11.0 0.5\n\n12.0\t2\n")
    assert (link.rate(0.0), link.rate(1.5), link.rate(2.9), link.rate(3.1)) == (1.5e6, 0.5e6, 2e6, 1.5e6)
    assert link.period == pytest.approx(3.0)
    held = read_trace("0 1.5\n1 0.5\n", repeat=False)
    assert held.rate(100.0) == 0.5e6


@pytest.mark.parametrize(
    ("text", "said"), [("0 1\n1 x\n", "line 2"), ("0 1 2\n", "line 1"), ("0 1\n", "fewer")]
)
def test_a_trace_that_is_invalid_is_refused_with_the_line(text: str, said: str) -> None:
    with pytest.raises(BadValueError, match=said):
        read_trace(text)


def test_synthetic_links_are_the_same_for_the_same_seed_and_keep_their_means() -> None:
    first, second = (LognormalProcess().sample(np.random.default_rng(7), 600.0) for _ in range(2))
    assert first.rates.tolist() == second.rates.tolist()
    assert first.rates.tolist() != LognormalProcess().sample(np.random.default_rng(8), 600.0).rates.tolist()
    one = LognormalProcess(levels=(1e6,), spread=0.5).sample(np.random.default_rng(1), 50_000.0)
    logs = np.log(one.rates)
    assert float(logs.mean()) == pytest.approx(np.log(1e6), abs=0.03)
    assert float(logs.std()) == pytest.approx(0.5, abs=0.03)
    outages = OutageProcess(good_for=30.0, bad_for=10.0).sample(np.random.default_rng(1), 100_000.0)
    assert outages.carried(100_000.0) / 100_000.0 == pytest.approx(0.75 * 2e6, rel=0.03)
