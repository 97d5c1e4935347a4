"""Counts of requests under a fault."""

from __future__ import annotations

import pytest

from benchmarks.runtime.switches import beyond, most_within
from benchmarks.runtime.verdicts import excuses, held_up, verdict


def _counts(*moments: float, end: float = 10.0) -> list[tuple[float, float]]:
    """Counts of polls every 0.05 s for switches at these times."""
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


def _delay(kind: str, at: float, seconds: float) -> dict[str, object]:
    return {"kind": kind, "at": at, "seconds": seconds}


def test_a_stall_counts_while_it_overlaps_the_request() -> None:
    delays = [_delay("stall", 5.0, 0.1), _delay("stall", 7.0, 0.3)]
    assert held_up(delays, 4.0, 4.89) == 0.0
    assert held_up(delays, 4.0, 4.95) == 0.1
    assert held_up(delays, 4.95, 8.0) == 0.3
    assert held_up(delays, 7.01, 8.0) == 0.0


def test_waits_for_a_core_add_up_and_collections_are_the_programs_own() -> None:
    delays = [_delay("starved", 5.0 + 0.02 * i, 0.015) for i in range(4)]
    delays += [_delay("collection", 5.05, 0.5), _delay("stall", 5.02, 0.05)]
    assert held_up(delays, 4.99, 5.1) == pytest.approx(0.06)


def test_late_requests_are_excused_only_when_the_machine_held_them_up_long_enough() -> None:
    replies = [_reply(0.2), _reply(0.2), _reply(0.14)]
    replies[1]["due"] = 10.0
    caller, runtime = [_delay("stall", 0.1, 0.03)], [_delay("starved", 0.15, 0.03)]
    found = excuses(replies, 0.15, caller, runtime, [(9.0, "cut"), (10.1, "mended"), (11.0, "cut")])
    assert found["late_only_for_the_machine"] == 1
    first, second = found["late_requests"]
    assert (first["caller_held_up_ms"], first["runtime_held_up_ms"]) == (0.0, 0.0)
    assert first["after"] == {"mended": -0.1}
    assert (second["caller_held_up_ms"], second["runtime_held_up_ms"]) == (30.0, 30.0)
    assert second["after"] == {}
