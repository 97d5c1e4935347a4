"""The bandwidth that a transfer implies, without delays outside the link."""

from __future__ import annotations

from math import inf

import pytest

from edge_planning.links.estimates import RateSample
from edge_runtime.links.sockets import TcpInfo
from edge_runtime.links.transfer_rates import (
    JITTER,
    FinishedTransfer,
    fastest,
    fastest_so_far,
    sample_between,
    sample_of_transfer,
    tight,
)

KNOWN = TcpInfo(0, 0.0)


def test_the_round_trip_and_the_mean_compute_are_taken_out() -> None:
    after = TcpInfo(0, 0.05)
    sample = sample_of_transfer(FinishedTransfer(100_000, 0.05 + 0.1 + 0.2, 0.1, KNOWN, after), 7.0)
    assert sample is not None
    assert sample.at == 7.0
    assert sample.low == pytest.approx(8e5 / (0.2 + 0.03))
    assert sample.high == pytest.approx(8e5 / (0.2 - 0.03 - JITTER))


def test_a_transfer_acknowledged_long_before_the_response_leaves_the_rate_open() -> None:
    sample = sample_of_transfer(FinishedTransfer(100_000, 1.0, 0.0, KNOWN, KNOWN, arrived=0.1), 0.0)
    assert sample is not None
    assert sample.low == 8e5
    assert not sample.plain
    assert sample.high == pytest.approx(8e5 / (0.1 - JITTER - 0.01))


def test_a_server_that_takes_a_quarter_of_the_time_is_distinguished_from_a_slower_link() -> None:
    """210 ms until the response arrived, for 160 of which the kernel had data in flight."""
    before, after = TcpInfo(0, 0.0, busy=1.0), TcpInfo(20_000, 0.0, busy=1.16)
    sample = sample_of_transfer(FinishedTransfer(20_000, 0.21, 0.0, before, after), 0.0)
    assert sample is not None
    assert sample.high < 1.3 * sample.low
    assert not tight(sample)
    plain = sample_of_transfer(
        FinishedTransfer(20_000, 0.21, 0.0, before, TcpInfo(20_000, 0.0, busy=1.2)), 0.0
    )
    assert plain is not None
    assert tight(plain)


def test_other_requests_count_with_their_bytes_of_that_time() -> None:
    sample = sample_of_transfer(FinishedTransfer(100_000, 0.4, 0.0, KNOWN, KNOWN, others=100_000), 0.0)
    assert sample is not None
    assert sample.low == pytest.approx(4e6)


def test_a_response_takes_its_share_of_the_time() -> None:
    """100 KB sent and 300 KB received in 0.4 s."""
    transfer = FinishedTransfer(100_000, 0.4, 0.0, KNOWN, KNOWN, received=300_000)
    sample = sample_of_transfer(transfer, 0.0)
    assert sample is not None
    assert sample.low == pytest.approx(8e5 / 0.1)
    assert sample.high == pytest.approx(8e5 / (0.1 - JITTER))


def test_a_request_that_took_longer_than_its_share_is_the_slower_direction() -> None:
    transfer = FinishedTransfer(100_000, 0.4, 0.0, KNOWN, KNOWN, arrived=0.35, received=300_000)
    sample = sample_of_transfer(transfer, 0.0)
    assert sample is not None
    assert sample.low == pytest.approx(8e5 / 0.35)


def test_a_time_that_the_round_trip_explains_says_nothing() -> None:
    assert sample_of_transfer(FinishedTransfer(3000, 0.049, 0.0, KNOWN, TcpInfo(0, 0.05)), 0.0) is None


def test_time_for_acknowledgements_alone_says_little_of_a_fast_link() -> None:
    """64 KB over 100 ms: windows of 14, 28 and 22 KB, so two round trips are spent waiting."""
    assert fastest(64_000, 0.2, 14_000, 0.1) == inf
    assert fastest(64_000, 0.25, 14_000, 0.1) == pytest.approx(3.52e6)


def test_a_link_so_slow_that_the_window_is_never_used_up_is_measured_as_it_is() -> None:
    assert fastest(64_000, 1.0, 14_000, 0.1) == pytest.approx(8 * 64_000)
    assert fastest(64_000, 0.25, 64_000, 0.1) == 8 * 64_000 / 0.25
    assert fastest(64_000, 0.25, 0, 0.1) == 8 * 64_000 / 0.25


@pytest.mark.parametrize("rate", [0.5e6, 2e6, 10e6, 100e6])
@pytest.mark.parametrize("round_trip", [0.001, 0.02, 0.1])
def test_the_greatest_rate_is_never_below_the_links_own(rate: float, round_trip: float) -> None:
    """Slow start over a link of a known rate, window by window."""
    size, window = 100_000, 14_000
    seconds, sent, allowed = 0.0, 0, window
    while sent < size:
        part = min(allowed, size - sent)
        sent += part
        seconds += 8 * part / rate
        if sent < size:
            seconds += max(round_trip - 8 * part / rate, 0.0)
        allowed *= 2
    assert fastest(size, seconds, window, round_trip) >= 0.999 * rate


def test_a_request_that_was_given_up_cannot_have_had_the_rate_at_which_it_had_arrived() -> None:
    assert sample_between(9_000, 0.1, 1.0, most=10_000) == RateSample(1.0, 8 * 90_000, 8 * 100_000, 0.1)
    assert sample_between(9_000, 0.1, 1.0) == RateSample(1.0, 8 * 90_000, 8 * 120_000, 0.1)


@pytest.mark.parametrize(("high", "yes"), [(1.0e6, True), (1.6e6, True), (1.7e6, False), (inf, False)])
def test_a_wide_interval_is_not_a_measurement(high: float, yes: bool) -> None:
    assert tight(RateSample(0.0, 1e6, high)) is yes


def test_a_transfer_that_stands_still_bounds_the_rate_after_a_few_milliseconds() -> None:
    near = TcpInfo(0, 0.0001, window=1 << 20)
    assert fastest_so_far(1000, 0.010, near) == pytest.approx(8 * 4000 / (0.010 - JITTER - 0.0003))
    assert fastest_so_far(1000, 0.020, near) == pytest.approx(8 * 4000 / (0.020 - JITTER - 0.0003))


@pytest.mark.parametrize("rate", [1e6, 20e6, 500e6])
@pytest.mark.parametrize("seconds", [0.001, 0.008, 0.015, 0.03])
def test_a_transfer_at_full_speed_never_bounds_the_rate_below_it(rate: float, seconds: float) -> None:
    """Acknowledgments are a round trip late, and this process up to 6 ms."""
    near = TcpInfo(0, 0.002, window=1 << 20)
    moved = int(max(seconds - near.round_trip - JITTER, 0) * rate / 8)
    assert fastest_so_far(moved, seconds, near) >= rate


def test_nothing_is_said_while_delays_or_round_trips_may_be_the_reason() -> None:
    near = TcpInfo(0, 0.0001, window=1 << 20)
    assert fastest_so_far(0, JITTER, near) == inf
    assert fastest_so_far(0, 2 * JITTER, near, margin=2.0) == inf
    assert fastest_so_far(0, 0.03, TcpInfo(0, 0.05, window=1 << 20)) == inf
    assert fastest_so_far(40_000, 0.025, TcpInfo(0, 0.005, window=14_600)) == inf


def test_a_link_whose_round_trips_vary_is_given_as_much_more_time() -> None:
    uneven = TcpInfo(0, 0.001, window=1 << 20, usual=0.02)
    assert fastest_so_far(0, 0.02, uneven) == inf
    assert fastest_so_far(0, 0.024, uneven) == pytest.approx(8 * 3000 / 0.004)


def test_without_a_known_round_trip_an_unfinished_transfer_says_nothing() -> None:
    assert fastest_so_far(0, 0.03, TcpInfo(0, 0.0)) == inf
