"""What is counted of requests under a fault."""

from __future__ import annotations

from benchmarks.runtime.deadlines import stall_during, verdict
from benchmarks.runtime.switches import beyond, most_within


def _counts(*moments: float, end: float = 10.0) -> list[tuple[float, float]]:
    """As a look every 0.05 s sees switches at these moments."""
    looks = [i * 0.05 for i in range(int(end / 0.05))]
    return [(look, float(sum(moment <= look for moment in moments))) for look in looks]


def test_switches_within_a_span_are_counted_wherever_it_lies() -> None:
    assert most_within(_counts(1.01, 1.31, 2.01), 0.5) == 2
    assert most_within(_counts(1.01, 1.61, 2.21), 0.5) == 1
    assert most_within(_counts(), 0.5) == 0


def test_one_switch_in_each_dwell_time_is_none_too_many() -> None:
    assert beyond(_counts(*[0.52 * i for i in range(15)]), 0.5) == 0


def test_up_and_at_once_down_again_is_one_too_many_however_often_with_pauses() -> None:
    assert beyond(_counts(1.0, 1.03, 2.1, 2.13, 3.2, 3.23), 0.5) == 1


def test_a_route_that_changes_four_times_as_often_as_it_may_is_counted_in_full() -> None:
    assert beyond(_counts(*[1 + 0.125 * i for i in range(17)]), 0.5) == 12


def _reply(seconds: float, status: int = 200, route: str = "near") -> dict[str, object]:
    return {"due": 0.0, "seconds": seconds, "status": status, "parameters": {"route": route}}


def test_a_request_counts_as_in_time_only_when_it_was_answered_and_soon_enough() -> None:
    replies = [_reply(0.15), _reply(0.151), _reply(0.02, 503), _reply(10.0, 0), _reply(0.1, route="far")]
    found = verdict(replies, 0.15)
    assert (found["requests"], found["in_time"], found["late"]) == (5, 2, 1)
    assert (found["failed"], found["5xx"]) == (2, 1)
    assert found["in_time_share"] == 0.4
    assert found["by"] == {"near": 4, "far": 1}


def test_a_stall_counts_while_it_overlaps_the_request() -> None:
    delays = [{"at": 5.0, "seconds": 0.1}, {"at": 7.0, "seconds": 0.3}]
    assert stall_during(delays, 4.0, 4.89) == 0.0
    assert stall_during(delays, 4.0, 4.95) == 0.1
    assert stall_during(delays, 4.95, 8.0) == 0.3
    assert stall_during(delays, 7.01, 8.0) == 0.0
