"""A table that is updated while requests are sent; without a terminal, lines once they are complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

from rich.console import Console
from rich.live import Live
from rich.table import Table

Shown = TypeVar("Shown")


class LiveTable(Generic[Shown]):
    """Shows a result while it grows.

    table: of the result so far. lines: of the same, without a terminal. growing: how many of the last lines
    can still change; None: all.
    """

    def __init__(
        self,
        console: Console,
        table: Callable[[Shown], Table],
        lines: Callable[[Shown], Sequence[str]],
        growing: int | None = 1,
    ) -> None:
        self._console, self._table, self._lines, self._growing = console, table, lines, growing
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._printed = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, result: Shown) -> None:
        """Updates the table; without a terminal, prints the lines that no longer change."""
        if self._console.is_terminal:
            self._live.update(self._table(result), refresh=True)
        elif self._growing is not None:
            self._print(self._lines(result)[: -self._growing])

    def close(self, result: Shown) -> None:
        """Completes the output."""
        self.show(result)
        if not self._console.is_terminal:
            self._print(self._lines(result))

    def _print(self, lines: Sequence[str]) -> None:
        for line in lines[self._printed :]:
            self._console.print(f"demo: {line}", highlight=False, markup=False, soft_wrap=True)
            self._printed += 1
