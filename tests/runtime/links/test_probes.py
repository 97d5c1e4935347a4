"""The size of a probe, and the sink's response to it."""

from __future__ import annotations

import json
from math import inf

import pytest

from edge_runtime.links.probe_budgets import LEAST, MOST
from edge_runtime.links.probes import measured, wanted
from edge_runtime.links.sockets import TcpInfo
from edge_runtime.links.transfer_rates import JITTER, FinishedTransfer


@pytest.mark.parametrize(
    ("rate", "busy", "size"),
    [(None, False, LEAST), (1e6, False, 18_750), (1e6, True, LEAST), (4e6, True, 15_000), (1e9, False, MOST)],
)
def test_a_probe_takes_about_a_seventh_of_a_second_and_less_while_requests_come(
    rate: float | None, busy: bool, size: int
) -> None:
    assert wanted(rate, busy=busy, window=0, round_trip=None) == size


def test_on_a_fast_long_link_no_more_than_the_window_is_sent() -> None:
    assert wanted(20e6, busy=False, window=14_000, round_trip=0.05) == 14_000
    assert wanted(20e6, busy=False, window=14_000, round_trip=0.001) == MOST
    assert wanted(20e6, busy=False, window=2_000, round_trip=0.05) == LEAST


def _said(**parts: float) -> bytes:
    return json.dumps(parts).encode()


def _here(size: int, seconds: float, round_trip: float = 0.0) -> FinishedTransfer:
    return FinishedTransfer(size, seconds, 0.0, TcpInfo(0, round_trip), TcpInfo(size, round_trip))


def test_the_sinks_times_count_without_the_first_reading() -> None:
    sample = measured(_said(bytes=16_384, seconds=0.1, first=1_384), 16_384, _here(16_384, 5.0), 0, 0.0, 7.0)
    assert sample is not None
    assert (sample.at, sample.low) == (7.0, 8 * 15_000 / 0.1)
    assert sample.high == pytest.approx(8 * 15_000 / 0.0995)


def test_a_round_trip_of_waiting_inside_a_probe_leaves_the_rate_open() -> None:
    sample = measured(
        _said(bytes=32_768, seconds=0.1, first=1_000), 32_768, _here(32_768, 0.2), 14_000, 0.1, 0.0
    )
    assert sample is not None
    assert sample.high == inf


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", _said(first=0), _said(seconds=0.0001, first=0), _said(seconds=1, first=9_000)],
)
def test_a_probe_whose_receiver_reports_no_times_is_measured_like_a_transfer(body: bytes) -> None:
    sample = measured(body, 10_000, _here(10_000, 0.12, round_trip=0.02), 0, 0.02, 0.0)
    assert sample is not None
    assert sample.low == pytest.approx(8e5)
    assert sample.high == pytest.approx(80_000 / (0.1 - JITTER))
    assert measured(body, 10_000, None, 0, 0.0, 0.0) is None
