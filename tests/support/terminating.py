"""SIGTERM ends a run of tests as Ctrl-C does, so that fixtures remove what they have started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {signal_number}")


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Raises KeyboardInterrupt in the main thread when the process receives SIGTERM."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
