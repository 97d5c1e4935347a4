"""The core that loading a slice has to itself, and that every thread gets all its cores back."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from pathlib import Path
from threading import get_native_id

import pytest

from edge_runtime.inference.loading_core import LoadingCore, own_threads, parts, used_by_others

LOOP, INFERENCE, SESSIONS, LATER = 1001, 1002, 1003, 1004
ALL = frozenset(range(4))


class Kernel:
    """The threads of a process and their cores; the calling thread is one of them.

    granted: the cores of its cgroup.
    """

    def __init__(self, granted: Collection[int], used: Collection[int] | None = None) -> None:
        self.granted = frozenset(granted)
        self.threads = {t: frozenset(used or granted) for t in (get_native_id(), LOOP, INFERENCE, SESSIONS)}
        self.given: dict[int, frozenset[int]] = {}
        self.others = 0.4
        self.core = LoadingCore(
            self.cores_of, self.confine, lambda: list(self.threads), len(ALL), lambda: self.others
        )

    def cores_of(self, thread: int) -> frozenset[int]:
        return self.threads[thread or get_native_id()]

    def confine(self, thread: int, cores: Collection[int]) -> None:
        thread = thread or get_native_id()
        if thread not in self.threads:
            raise ProcessLookupError
        self.given[thread] = frozenset(cores)
        self.threads[thread] = frozenset(cores) & self.granted

    @property
    def own(self) -> frozenset[int]:
        return self.threads[get_native_id()]


def test_the_last_core_is_for_loading_if_there_are_two() -> None:
    assert parts({0, 1}) == (frozenset({1}), frozenset({0}))
    assert parts({2, 3, 7}) == (frozenset({7}), frozenset({2, 3}))
    assert parts({5}) is None
    assert parts(set()) is None


def test_loading_threads_have_a_core_and_the_others_the_rest() -> None:
    kernel = Kernel(ALL)
    with kernel.core.taken(SESSIONS):
        assert kernel.own == kernel.threads[SESSIONS] == {3}
        assert kernel.threads[LOOP] == kernel.threads[INFERENCE] == {0, 1, 2}
    assert set(kernel.threads.values()) == {ALL}


def test_every_thread_gets_its_cores_back_after_a_failure_and_those_that_began_during_the_load_too() -> None:
    kernel = Kernel({0, 1})

    def fail() -> None:
        kernel.threads[LATER] = kernel.threads[LOOP]
        del kernel.threads[INFERENCE]  # it ends during the load
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"), kernel.core.taken(SESSIONS):
        fail()
    assert kernel.threads.keys() == {get_native_id(), LOOP, SESSIONS, LATER}
    assert set(kernel.threads.values()) == {frozenset({0, 1})}


def test_cores_that_the_cgroup_gets_later_are_used() -> None:
    kernel = Kernel({0, 1})
    with kernel.core.taken(SESSIONS):
        pass
    assert set(kernel.given.values()) == {ALL}, "the cgroup limits them, not the threads' own cores"


def test_a_process_that_was_started_with_fewer_cores_uses_no_others_later() -> None:
    kernel = Kernel(ALL, used={1, 2})
    with kernel.core.taken(SESSIONS):
        assert (kernel.own, kernel.threads[LOOP]) == (frozenset({2}), frozenset({1}))
    assert set(kernel.threads.values()) == {frozenset({1, 2})}


def test_a_thread_with_cores_of_its_own_keeps_them() -> None:
    kernel = Kernel(ALL)
    kernel.threads[LATER] = frozenset({2})
    with kernel.core.taken():
        assert kernel.threads[LATER] == {2}
    assert kernel.threads[LATER] == {2}


def test_a_process_that_starts_during_a_load_may_use_all_cores() -> None:
    kernel = Kernel({0, 1})
    with kernel.core.taken():
        kernel.threads[LATER] = kernel.threads[LOOP]
        kernel.core.release(LATER)
        assert kernel.threads[LATER] == {0, 1}
    kernel.given.clear()
    kernel.core.release(LATER)
    assert not kernel.given, "nothing is confined without a load"


def test_a_load_during_another_changes_nothing() -> None:
    kernel = Kernel(ALL)
    with kernel.core.taken(SESSIONS):
        with kernel.core.taken(LOOP):
            assert kernel.threads[LOOP] == {0, 1, 2}
        assert kernel.own == {3}
    assert set(kernel.threads.values()) == {ALL}


def test_one_core_and_a_kernel_that_forbids_it_change_nothing() -> None:
    kernel = Kernel({2})
    with kernel.core.taken(SESSIONS):
        assert set(kernel.threads.values()) == {frozenset({2})}

    def forbidden(thread: int, cores: Collection[int]) -> None:
        raise PermissionError

    kernel = Kernel(ALL)
    core = LoadingCore(kernel.cores_of, forbidden, lambda: list(kernel.threads), len(ALL), lambda: 0.0)
    with core.taken(SESSIONS):
        assert set(kernel.threads.values()) == {ALL}


def test_nothing_is_confined_beside_programs_that_use_the_cores() -> None:
    kernel = Kernel(ALL)
    kernel.others = 0.6
    with kernel.core.taken(SESSIONS):
        assert set(kernel.threads.values()) == {ALL}


@pytest.mark.parametrize(
    ("fields", "own", "expected"),
    [
        ("104 0 102 900 0 0 0 0 0 0", 0.05, 0.25),  # 60 ms more, 50 of them its own, in 40 ms
        ("104 999 102 900 0 0 0 0 0 0", 0.06, 0.0),  # of low priority
        ("100 0 100 900 0 1 2 1 0 0", 0.0, 1.0),
        ("100 0 100 900 0 0 0 0 0 0", 0.01, 0.0),  # ticks are coarse
        ("nothing", 0.0, 0.0),
    ],
)
def test_the_cores_that_others_use_are_counted_without_low_priority_and_its_own(
    tmp_path: Path, fields: str, own: float, expected: float
) -> None:
    stat, now = tmp_path / "stat", [0.0]
    stat.write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1\n")

    def sleep(seconds: float) -> None:
        now.append(now[-1] + seconds)
        stat.write_text(f"cpu  {fields}\ncpu0 1\n")

    found = used_by_others(stat, sleep, lambda: now[-1], lambda: own if len(now) > 1 else 0.0)
    assert found == pytest.approx(expected)


def test_without_the_kernels_counts_no_core_is_used(tmp_path: Path) -> None:
    assert used_by_others(tmp_path / "stat") == 0.0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_threads_of_a_real_process_are_confined_and_released() -> None:
    before, go = os.sched_getaffinity(0), threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    number = thread.native_id or 0
    try:
        assert {get_native_id(), number} <= set(own_threads())
        with LoadingCore(others=lambda: 0.0).taken():
            assert os.sched_getaffinity(0) == {max(before)}
            assert os.sched_getaffinity(number) == before - {max(before)}
        assert os.sched_getaffinity(0) == os.sched_getaffinity(number) == before
    finally:
        go.set()
        thread.join()
