"""Lines that say what is being done and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str], None]


def print_line(line: str) -> None:
    """The progress of a command: a line on stderr, at once."""
    sys.stderr.write(f"testbed: {line}\n")
    sys.stderr.flush()


@contextmanager
def step(progress: Progress, what: str, *, announce: bool = False) -> Iterator[None]:
    """One line when the work is done, with its seconds; `announce` adds one when it begins."""
    began = time.monotonic()
    if announce:
        progress(f"{what} ...")
    yield
    progress(f"{what}: {time.monotonic() - began:.1f} s")
