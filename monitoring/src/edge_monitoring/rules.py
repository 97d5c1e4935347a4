"""Rules in the form of Prometheus, and the recording rules of the SLOs.

Windows are values of the label `window`. The names follow Sloth's under a prefix of their own, so that both
can record in one Prometheus.
"""

from dataclasses import dataclass, field
from typing import Any, Final

SERVICE: Final = "namespace, service"
"""The labels of a service on every metric that has requests."""
OWNER: Final = f"{SERVICE}, tenant, pool"
"""The labels of a service on the metrics that the operator reads from its object."""

WINDOWS: Final = {
    "5m": 300,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "6h": 21600,
    "1d": 86400,
    "3d": 259200,
}
"""The windows and their lengths in seconds. The 28 days of the error budget are counted by the operator."""
_SELDOM: Final = ("6h", "1d", "3d")
"""Windows that are evaluated once a minute: they change slowly and read many samples."""

REQUESTS: Final = "edge_slo:sli_total:rate"
"""Requests per second of a service, by window."""
ERRORS: Final = "edge_slo:sli_error:rate"
"""Requests per second that missed the SLO, by window."""
ERROR_RATIO: Final = "edge_slo:sli_error:ratio_rate"
"""Share of requests that missed the SLO, by window; none without requests."""
OBJECTIVE: Final = "edge_slo:objective:ratio"
"""The SLO objective of a service."""
ERROR_BUDGET: Final = "edge_slo:error_budget:ratio"
"""Share of requests that may miss the SLO."""
BURN_RATE: Final = "edge_slo:burn_rate:ratio"
"""Error ratio over error budget, by window: 1 uses exactly the budget."""
BUDGET_LEFT: Final = "edge_slo:error_budget_remaining:ratio"
"""Share of the error budget of 28 days that is left."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule."""

    name: str
    expression: str
    labels: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Returns the rule as Prometheus reads it."""
        found: dict[str, Any] = {"record": self.name, "expr": self.expression}
        return found | ({"labels": self.labels} if self.labels else {})


def _window(window: str) -> tuple[Recording, ...]:
    labels = {"window": window}
    at = f'{{window="{window}"}}'
    return (
        Recording(REQUESTS, f"sum by ({SERVICE}) (rate(edge_slo_requests_total[{window}]))", labels),
        Recording(
            ERRORS, f'sum by ({SERVICE}) (rate(edge_slo_requests_total{{met="false"}}[{window}]))', labels
        ),
        Recording(ERROR_RATIO, f"{ERRORS}{at} / ({REQUESTS}{at} > 0)", labels),
        Recording(
            BURN_RATE,
            f"{ERROR_RATIO}{at} / on ({SERVICE}) group_left (tenant, pool) {ERROR_BUDGET}",
            labels,
        ),
    )


_BUDGETS: Final = (
    # Two replicas of the operator can export a service for a moment, while one hands over to the other.
    Recording(OBJECTIVE, f"max by ({OWNER}) (edge_slo_objective)"),
    Recording(ERROR_BUDGET, f"1 - max by ({OWNER}) (edge_slo_objective)"),
    Recording(
        BUDGET_LEFT, f"min by ({OWNER}, window) (edge_slo_error_budget_remaining_ratio)", {"window": "28d"}
    ),
)


def recording_groups() -> list[dict[str, Any]]:
    """Returns the groups of recording rules."""
    often = [rule for window in WINDOWS if window not in _SELDOM for rule in _window(window)]
    seldom = [rule for window in _SELDOM for rule in _window(window)]
    return [
        {"name": "edge-slo-budgets", "rules": [rule.document() for rule in _BUDGETS]},
        {"name": "edge-slo-windows", "rules": [rule.document() for rule in often]},
        {"name": "edge-slo-long-windows", "interval": "1m", "rules": [rule.document() for rule in seldom]},
    ]
