"""Terminal output of the second act: the table of the tenants, phase by phase."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from demo.formatting import milliseconds
from demo.live_tables import LiveTable
from demo.sharing.results import SharingResult
from demo.sharing.summaries import COLUMNS, rows


def display(console: Console) -> LiveTable[SharingResult]:
    """Returns the table to show while the tenants send.

    Its rows change until the end: responses to requests of a phase come during the next one, too.
    """
    return LiveTable(console, tenants_table, lines, growing=None)


def tenants_table(result: SharingResult) -> Table:
    """Returns the table of the tenants so far."""
    terms = result.terms
    title = f"Two tenants at {', '.join(terms.nodes)}   (SLO {milliseconds(terms.slo)})"
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index < 2 else "right", no_wrap=True)
    for row in rows(result):
        table.add_row(*row, style="bold" if row[1] == terms.quiet else "")
    return table


def lines(result: SharingResult) -> list[str]:
    """Returns a line for each phase and tenant."""
    return [
        ", ".join(f"{name} {cell}" for name, cell in zip(COLUMNS, row, strict=True)) for row in rows(result)
    ]
