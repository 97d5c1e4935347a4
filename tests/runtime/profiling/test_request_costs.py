"""The processor time of requests outside of inference, as a profiling Job measures it."""

import os

import pytest

from edge_runtime.request_costs import (
    LARGE,
    SMALL,
    RequestCosts,
    Spent,
    available,
    costs_of,
    measure_requests,
)


def test_two_sizes_tell_what_a_request_costs_and_what_each_byte_adds() -> None:
    more = LARGE - SMALL
    small = Spent(served=2e-4, sent=1e-4)
    request = Spent(served=2e-4 + more * 3e-10, sent=1e-4 + more * 2e-10)
    response = Spent(served=2e-4 + more * 5e-10, sent=1e-4 + more * 4e-10)
    found = costs_of(small, request, response, 0.5)
    assert found.receive_byte == pytest.approx(3e-10)
    assert found.hop_byte == pytest.approx(2e-10)
    assert found.respond_byte == pytest.approx(5e-10)
    assert found.reply_byte == pytest.approx(4e-10)
    assert found.receive == pytest.approx(2e-4 - SMALL * 3e-10)
    assert found.hop == pytest.approx(1e-4 - SMALL * 2e-10)


def test_a_large_tensor_that_took_no_longer_costs_nothing_for_its_bytes() -> None:
    small, large = Spent(2e-4, 1e-4), Spent(1.9e-4, 1e-4)
    found = costs_of(small, large, large, 1.0)
    assert (found.receive, found.receive_byte, found.hop_byte) == (2e-4, 0.0, 0.0)
    assert (found.respond_byte, found.reply_byte) == (0.0, 0.0)


def test_the_costs_are_those_of_a_real_exchange() -> None:
    found = measure_requests(0.002)
    assert 0 < found.receive < 1
    assert 0 < found.hop < 1
    assert found.respond_byte >= 0
    assert found.processors > 0


def test_busy_threads_get_no_more_than_the_processors_of_this_machine() -> None:
    assert 0 < available(0.05) < len(os.sched_getaffinity(0)) * 1.1


def test_a_machine_that_gave_no_processor_at_all_is_described_with_the_least_that_can_be_written() -> None:
    assert RequestCosts(0.0001, *[0.0] * 6).document()["processors"] == 0.001
