"""The reference of a latency over a shaped link."""

from __future__ import annotations

import pytest

from benchmarks.runtime.end_to_end import Ideal, ratios
from benchmarks.runtime.sites import burst_bytes

AT_1M = Ideal(head=0.004, tail=0.006, wire=51_700, burst=1_700, rate=1e6, round_trip=0.0001)


def test_a_transfer_is_what_the_shaper_does_not_pass_at_once() -> None:
    assert AT_1M.transfer == pytest.approx(8 * 50_000 / 1e6)
    assert AT_1M.seconds == pytest.approx(0.4101)


def test_what_fits_into_a_burst_takes_no_time_on_the_link() -> None:
    small = Ideal(head=0.001, tail=0.001, wire=900, burst=1_700, rate=1e6, round_trip=0.0002)
    assert small.transfer == 0
    assert small.seconds == pytest.approx(0.0022)


def test_ratios_are_nearest_ranks_over_the_ideal() -> None:
    latencies = [0.4101 * (1 + i / 1000) for i in range(100)]
    assert ratios(latencies, AT_1M) == {"p50": 1.049, "p99": 1.098, "most": 1.099}


def test_the_burst_is_a_frame_and_a_little_on_slow_links_and_less_than_a_millisecond_on_fast_ones() -> None:
    assert [burst_bytes(rate) for rate in (1e6, 10e6, 50e6)] == [1700, 1700, 3750]
