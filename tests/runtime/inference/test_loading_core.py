"""The core that loading a slice has to itself, and that every thread gets all its cores back."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from threading import get_native_id

import pytest

from edge_runtime.inference.loading_core import LoadingCore, own_threads, parts

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
        self.core = LoadingCore(self.cores_of, self.confine, lambda: list(self.threads), len(ALL))

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
    with LoadingCore(kernel.cores_of, forbidden, lambda: list(kernel.threads), len(ALL)).taken(SESSIONS):
        assert set(kernel.threads.values()) == {ALL}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_the_threads_of_a_real_process_are_confined_and_released() -> None:
    before, go = os.sched_getaffinity(0), threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    number = thread.native_id or 0
    try:
        assert {get_native_id(), number} <= set(own_threads())
        with LoadingCore().taken():
            assert os.sched_getaffinity(0) == {max(before)}
            assert os.sched_getaffinity(number) == before - {max(before)}
        assert os.sched_getaffinity(0) == os.sched_getaffinity(number) == before
    finally:
        go.set()
        thread.join()
