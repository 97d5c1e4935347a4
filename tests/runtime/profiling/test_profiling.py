"""What a device's profile says of its segments and exits."""

from __future__ import annotations

import pytest

from edge_runtime.profiling import Measured, measure, measure_all, relative_error


class Clock:
    """A clock that a run moves."""

    def __init__(self, durations: list[float]) -> None:
        self.now, self._durations, self.runs = 0.0, durations, 0

    def __call__(self) -> float:
        return self.now

    def run(self) -> None:
        self.now += self._durations[self.runs % len(self._durations)]
        self.runs += 1


def test_the_mean_is_over_sustained_runs_with_the_pauses_that_a_quota_causes() -> None:
    clock = Clock([0.001, 0.001, 0.001, 0.017])  # fast until the quota is spent
    measured = measure(clock.run, 1.0, clock)
    assert measured.mean == pytest.approx(0.005, rel=0.05)
    assert measured.p95 == pytest.approx(0.017)
    assert measured.runs == pytest.approx(200, abs=10)


def test_a_slow_slice_is_run_at_least_twice_a_round() -> None:
    clock = Clock([3.0])
    assert measure(clock.run, 1.0, clock) == Measured(3.0, 3.0, 2)


def test_a_round_in_which_the_machine_was_busy_spoils_no_slice() -> None:
    # A round runs a slice three times, once to warm up; the second of the four is ten times slower.
    clock = Clock([1.0] * 6 + [10.0] * 6 + [1.0] * 12)
    measured = measure_all({"a": clock.run, "b": clock.run}, 4.0, lambda _: None, clock)
    assert {key: (m.mean, m.p95) for key, m in measured.items()} == {"a": (1.0, 1.0), "b": (1.0, 1.0)}
    assert {key: m.runs for key, m in measured.items()} == {"a": 8, "b": 8}


def test_the_relative_error_is_the_largest_over_the_exits() -> None:
    exits = [
        {"name": "exit1", "output": "a", "cuts": [{"tensor": "image"}, {"tensor": "c1"}]},
        {"name": "final", "output": "b", "cuts": [{"tensor": "image"}, {"tensor": "c1"}]},
    ]
    segments = {
        ("image", "c1"): Measured(1.0, 1.0, 5),
        ("c1", "a"): Measured(0.5, 0.5, 5),
        ("c1", "b"): Measured(2.0, 2.0, 5),
    }
    whole = {"a": Measured(1.5, 1.5, 5), "b": Measured(2.5, 2.5, 5)}
    assert relative_error(exits, segments, whole) == pytest.approx(0.2)
