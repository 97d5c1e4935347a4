"""Signals to processes of the cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from demo.errors import StepFailed


def signalled(pids: Sequence[int], number: signal.Signals) -> int:
    """Returns how many processes got the signal."""
    sent = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            sent += 1
    return sent


def require(count: int, what: str) -> None:
    """Raises StepFailed if there was no such process."""
    if not count:
        raise StepFailed(f"no process of {what} was found")


@contextmanager
def stopped(pids: Sequence[int], what: str) -> Iterator[None]:
    """Processes that do not run while the block does."""
    require(signalled(pids, signal.SIGSTOP), what)
    try:
        yield
    finally:
        signalled(pids, signal.SIGCONT)
