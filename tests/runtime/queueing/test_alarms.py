"""Alarms: functions that are called after a time."""

from __future__ import annotations

import logging
import threading

import pytest

from edge_runtime.inference.alarms import Alarms
from waiting import until

FAR = 3600.0


def test_alarms_are_called_in_the_order_of_their_times_on_one_thread() -> None:
    alarms, called, threads = Alarms(), list[str](), set[threading.Thread]()

    def note(name: str) -> None:
        called.append(name)
        threads.add(threading.current_thread())

    alarms.after(FAR, lambda: note("far"))
    alarms.after(0.02, lambda: note("second"))
    alarms.after(0.0, lambda: note("first"))
    until(lambda: len(called) == 2, "both are called")
    assert called == ["first", "second"]
    assert [thread.name for thread in threads] == ["alarms"]


def test_a_cancelled_alarm_is_not_called() -> None:
    alarms, called = Alarms(), list[str]()
    cancel = alarms.after(0.02, lambda: called.append("cancelled"))
    alarms.after(0.03, lambda: called.append("later"))
    cancel()
    until(lambda: bool(called), "the later one is called")
    assert called == ["later"]
    cancel()  # a second call does nothing


def test_an_alarm_may_set_another_one() -> None:
    alarms, called = Alarms(), list[str]()

    def outer() -> None:
        alarms.after(0.0, lambda: called.append("inner"))

    alarms.after(0.0, outer)
    until(lambda: bool(called), "the inner one is called")


def test_an_alarm_may_be_as_far_as_threads_can_wait() -> None:
    alarms, called = Alarms(), list[str]()
    cancel = alarms.after(threading.TIMEOUT_MAX, lambda: called.append("never"))
    alarms.after(0.0, lambda: called.append("now"))
    until(lambda: bool(called), "the near one is called")
    cancel()
    assert called == ["now"]


def test_an_error_of_an_alarm_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    alarms, called = Alarms(), list[str]()

    def fail() -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR):
        alarms.after(0.0, fail)
        alarms.after(0.0, lambda: called.append("next"))
        until(lambda: bool(called), "the next one is called")
    assert [record.getMessage() for record in caplog.records] == ["an alarm failed"]
