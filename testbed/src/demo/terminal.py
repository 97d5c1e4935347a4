"""Terminal output: a live table of the current mode (or plain lines), and the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.formatting import MODE_COLUMNS, PHASE_COLUMNS, milliseconds, mode_cells, rate, share
from demo.live_tables import LiveTable
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


def mode_lines(result: ModeResult, slo_seconds: float) -> list[str]:
    """Returns a line for each phase of the mode that began."""
    return [
        f"{result.mode}: {', '.join(f'{name} {cell}' for name, cell in zip(PHASE_COLUMNS, row, strict=True))}"
        for row in phase_rows(result, slo_seconds)
    ]


def display(console: Console, slo_seconds: float) -> LiveTable[ModeResult]:
    """Returns the table to show while a mode runs."""
    return LiveTable(
        console,
        lambda result: mode_table(result, slo_seconds),
        lambda result: mode_lines(result, slo_seconds),
    )


def comparison(report: Mapping[str, Any]) -> Table:
    """Returns the table that compares the modes."""
    table = Table(title=f"The modes compared   (SLO {milliseconds(report['slo_s'])})", title_justify="left")
    for index, column in enumerate(MODE_COLUMNS):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for name, mode in report["modes"].items():
        table.add_row(*mode_cells(name, mode), style="bold" if name == "Auto" else "")
    return table
