"""Progress lines with the duration of each step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str], None]


def print_line(line: str) -> None:
    """Prints a line to stderr and flushes it."""
    sys.stderr.write(f"testbed: {line}\n")
    sys.stderr.flush()


@contextmanager
def step(progress: Progress, what: str, *, announce: bool = False) -> Iterator[None]:
    """Prints a line with the seconds when the work is done; with `announce`, also one when it begins."""
    began = time.monotonic()
    if announce:
        progress(f"{what} ...")
    yield
    progress(f"{what}: {time.monotonic() - began:.1f} s")
