"""The thread that creates and frees sessions, and when it trims the heap."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from edge_runtime.inference.heap import HeapThread
from waiting import until

LARGE = 64 << 20


def test_calls_run_one_by_one_in_order_on_one_thread_which_is_not_the_callers() -> None:
    heap, names = HeapThread(lambda: None), list[str]()

    def note() -> str:
        names.append(threading.current_thread().name)
        return f"call {len(names)}"

    heap.later(lambda: names.append("freed"), 0)
    assert heap.call(note, 0) == "call 2"
    assert names == ["freed", "sessions"]


def test_an_error_reaches_the_caller_and_the_thread_continues() -> None:
    heap = HeapThread(lambda: None)
    with pytest.raises(ValueError, match="no model"):
        heap.call(lambda: _fail("no model"), 0)
    assert heap.call(lambda: 7, 0) == 7


def test_the_heap_is_trimmed_once_after_the_last_of_several_calls() -> None:
    calls: list[str] = []
    begun, go = threading.Event(), threading.Event()
    heap = HeapThread(lambda: calls.append("trimmed"), quiet=0.01)

    def held() -> None:
        begun.set()
        assert go.wait(20)
        calls.append("created")

    heap.later(held, LARGE)
    assert begun.wait(20)
    heap.later(lambda: calls.append("freed"), LARGE)  # waits: no pause between the two
    go.set()
    until(lambda: "trimmed" in calls, "the heap is trimmed")
    heap.call(lambda: None, 0)
    assert calls == ["created", "freed", "trimmed"]


def test_small_models_are_not_worth_a_trim_until_they_add_up() -> None:
    trims: list[str] = []
    heap = HeapThread(lambda: trims.append(threading.current_thread().name), quiet=0.0)
    heap.call(lambda: None, 5 << 20)
    heap.call(lambda: None, 0)
    assert not trims
    heap.call(lambda: None, 5 << 20)
    until(lambda: bool(trims), "the heap is trimmed")
    assert trims == ["sessions"]


def test_a_requested_trim_waits_for_what_is_being_freed() -> None:
    calls: list[str] = []
    heap = HeapThread(lambda: calls.append("trimmed"), quiet=60.0)
    heap.later(lambda: calls.append("freed"), LARGE)
    heap.trim()
    assert calls == ["freed", "trimmed"]


def test_the_memory_of_large_blocks_is_returned_when_they_are_freed() -> None:
    program = """
import ctypes
from edge_runtime.inference.heap import keep_large_blocks_apart
from edge_runtime.inference.memory import resident
keep_large_blocks_apart()
c, size, before = ctypes.CDLL(None), 16 << 20, resident()
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for _ in range(3):  # malloc retains the second one and the next by default
    first, second = c.malloc(size), c.malloc(64)
    ctypes.memset(first, 1, size)
    c.free(first)
print(resident() - before)
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(found.stdout) < 8 << 20


def _fail(why: str) -> None:
    raise ValueError(why)
