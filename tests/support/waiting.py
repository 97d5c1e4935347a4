"""Waits for a condition of another thread or process that nothing announces."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import httpx

_EVERY: Final = 0.01


def until(condition: Callable[[], bool], what: str | Callable[[], object], within: float = 60.0) -> None:
    """Returns once the condition holds. The time limit suffices on any machine.

    what: the condition, or a function that returns the state to show on a timeout.
    """
    deadline, pause = time.monotonic() + within, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what if isinstance(what, str) else what()}")
        pause.wait(_EVERY)


def responds(url: str) -> bool:
    """Whether a server responds with success; not while it does not listen yet."""
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False
