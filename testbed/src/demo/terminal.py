"""Terminal output: a live table of the current mode (or plain lines), and the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from demo.formatting import MODE_COLUMNS, PHASE_COLUMNS, milliseconds, mode_cells, rate, share
from demo.phases import CUT
from demo.reports import ModeResult
from demo.statistics import RequestResult, summarise
from demo.statistics import median_bps as middle


def phase_rows(result: ModeResult, slo_seconds: float) -> list[tuple[str, ...]]:
    """Returns one row per phase that began; `accuracy so far` covers the mode up to the end of that phase."""
    rows: list[tuple[str, ...]] = []
    before: list[RequestResult] = []
    for phase in result.phases:
        before += phase.results
        found, so_far = summarise(phase.results, slo_seconds), summarise(before, slo_seconds)
        measured = middle(phase.link)
        down = measured is None and bool(phase.link) and phase.phase.link_bps == CUT
        rows.append(
            (
                phase.phase.label,
                "down" if down else rate(measured),
                found.exit or "-",
                found.cut or "-",
                milliseconds(found.p50),
                milliseconds(found.p95),
                share(so_far.accuracy),
                share(found.attainment),
                str(found.requests),
                str(found.failed),
            )
        )
    return rows


def mode_table(result: ModeResult, slo_seconds: float) -> Table:
    """Returns the table of the mode so far."""
    table = Table(title=f"{result.mode}   (SLO {milliseconds(slo_seconds)})", title_justify="left")
    for index, column in enumerate(PHASE_COLUMNS):
        table.add_column(column, justify="left" if index in (2, 3) else "right", no_wrap=True)
    rows = phase_rows(result, slo_seconds)
    for index, row in enumerate(rows):
        failed = row[-1] != "0"
        style = "red" if failed else "bold" if index == len(rows) - 1 else ""
        table.add_row(*row, style=style)
    return table


class Display:
    """Shows one mode while it runs."""

    def __init__(self, console: Console, slo_seconds: float) -> None:
        self._console, self._slo = console, slo_seconds
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._lines = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, result: ModeResult) -> None:
        """Updates the table; without a terminal, prints a line for each completed phase."""
        if self._console.is_terminal:
            self._live.update(mode_table(result, self._slo), refresh=True)
            return
        for row in phase_rows(result, self._slo)[self._lines : -1]:
            self._line(result.mode, row)

    def close(self, result: ModeResult) -> None:
        """Completes the output after the last phase."""
        self.show(result)
        if not self._console.is_terminal:
            for row in phase_rows(result, self._slo)[self._lines :]:
                self._line(result.mode, row)

    def _line(self, mode: str, row: tuple[str, ...]) -> None:
        self._lines += 1
        cells = ", ".join(f"{name} {cell}" for name, cell in zip(PHASE_COLUMNS, row, strict=True))
        self._console.print(f"demo: {mode}: {cells}", highlight=False, markup=False, soft_wrap=True)


def comparison(report: Mapping[str, Any]) -> Table:
    """Returns the table that compares the modes."""
    table = Table(title=f"The modes compared   (SLO {milliseconds(report['slo_s'])})", title_justify="left")
    for index, column in enumerate(MODE_COLUMNS):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for name, mode in report["modes"].items():
        table.add_row(*mode_cells(name, mode), style="bold" if name == "Auto" else "")
    return table
