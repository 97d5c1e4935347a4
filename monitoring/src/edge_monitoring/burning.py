"""Alerts on the burn rate of error budgets, over a short and a long window.

The factors and windows are those of "The Site Reliability Workbook" (Google, 2018), chapter 5, table 5-8.
"""

from dataclasses import dataclass
from typing import Final, Literal

from edge_monitoring.rules import ERROR_BUDGET, ERROR_RATIO, ERRORS, SERVICE, WINDOWS

LEAST_MISSES: Final = 10
"""Requests that must have missed the SLO in the long window: a few late ones page no one."""
MOST_ERRORS: Final = 0.9
"""Share of missed requests from which every burn rate counts as reached.

With an objective of 90 %, a service that misses all requests burns its budget only 10 times too fast: the
factor of 14.4 alone could never be reached.
"""


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """One row of the table. tier: 1 is the fastest, by which faster alerts inhibit slower ones."""

    tier: str
    name: str
    severity: Literal["critical", "warning"]
    factor: float
    short: str
    long: str
    wait: str
    consequence: str

    @property
    def expression(self) -> str:
        """Fires while both windows burn too fast. Its value is the error ratio of the short one."""
        limit = f"clamp_max({self.factor:g} * {ERROR_BUDGET}, {MOST_ERRORS:g})"
        by = f"on ({SERVICE})"

        def above(window: str) -> str:
            return f'{ERROR_RATIO}{{window="{window}"}} > {by} group_left (tenant, pool) {limit}'

        misses = f'{ERRORS}{{window="{self.long}"}} * {WINDOWS[self.long]} >= {LEAST_MISSES}'
        return f"({above(self.short)}) and {by} ({above(self.long)}) and {by} ({misses})"


_FAST, _SLOW = "EdgeErrorBudgetBurnsFast", "EdgeErrorBudgetBurnsSlowly"
BURN_ALERTS: Final = (
    BurnAlert("1", _FAST, "critical", 14.4, "5m", "1h", "1m", "An hour of this uses 2 % of 28 days' budget."),
    BurnAlert("2", _FAST, "critical", 6, "30m", "6h", "5m", "Six hours of this use 5 % of 28 days' budget."),
    BurnAlert("3", _SLOW, "warning", 3, "2h", "1d", "30m", "A day of this uses 11 % of 28 days' budget."),
    BurnAlert("4", _SLOW, "warning", 1, "6h", "3d", "1h", "Three days of this use 11 % of 28 days' budget."),
)
