"""Shows how far a transfer is, once it takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE: Final = 2.0
"""Seconds without a bar."""
_EVERY: Final = 10.0
"""Seconds between two lines where there is no terminal."""


class ProgressBar:
    """A bar on a terminal, otherwise a line from time to time. For use in a `with` statement."""

    def __init__(
        self,
        what: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._stream, self._clock = what, stream or sys.stderr, clock
        self._next = clock() + PATIENCE
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def update(self, received: int, size: int | None) -> None:
        """Shows the bytes that are transferred, of a size if it is known."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=received, total=size)
        elif self._clock() < self._next:
            return
        elif self._stream.isatty():
            self._draw(received, size)
        else:
            self._next = self._clock() + _EVERY
            share = f" of {size} ({received / size:.0%})" if size else ""
            self._stream.write(f"{self._what}: {received} bytes{share}\n")
            self._stream.flush()

    def _draw(self, received: int, size: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(file=self._stream))
        self._task = self._bar.add_task(self._what, total=size, completed=received)
        self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
