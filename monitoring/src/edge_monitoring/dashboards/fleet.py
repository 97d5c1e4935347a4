"""All services: which burn their error budgets, worst first."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from edge_monitoring.panels import (
    BAD_IF_ZERO,
    GOOD_IF_HIGH,
    GOOD_IF_SLOW,
    GOOD_IF_ZERO,
    PLAIN,
    RATE,
    Field,
    Panel,
    Query,
    assembled,
    board,
    choice,
    graph,
    number,
    rows,
)
from edge_monitoring.rules import BUDGET_LEFT, BURN_RATE, ERROR_RATIO, OBJECTIVE, SERVICE

_OWN: Final = 'namespace=~"$namespace", tenant=~"$tenant"'
_NAMED: Final = "{{namespace}}/{{service}}"
_SERVICE_BOARD: Final = (
    "/d/edge-service/edge-service?${datasource:queryparam}&var-namespace=${__data.fields.Namespace}"
    "&var-service=${__data.fields.Service}&${__url_time_range}"
)


def fleet() -> Dashboard:
    """Returns the dashboard of all services."""
    made = board(
        "edge-fleet",
        "Edge intelligence / Fleet",
        "SLO attainment, error budgets and burn rates of all services, the worst first.",
        [
            choice("tenant", "Tenant", "label_values(edge_slo_objective, tenant)", several=True),
            choice(
                "namespace",
                "Namespace",
                'label_values(edge_slo_objective{tenant=~"$tenant"}, namespace)',
                several=True,
            ),
        ],
    )
    objective = f"{OBJECTIVE}{{{_OWN}}}"
    short = f'{ERROR_RATIO}{{window="5m"}}'
    budget = f"{BUDGET_LEFT}{{{_OWN}}}"
    ready = f'max by ({SERVICE}) (edge_service_condition{{{_OWN}, condition="Ready"}})'
    panels: list[Panel] = [
        number("Services", "Services with an SLO.", "short", f"count({objective})"),
        number(
            "Meet their SLO",
            "Services whose share of requests in time reached the objective in the last 5 minutes.",
            "short",
            f"count({objective} <= on ({SERVICE}) (1 - {short})) or vector(0)",
            steps=BAD_IF_ZERO,
        ),
        number(
            "Not Ready",
            "Services of which fewer entry nodes answer than spec.minReadyEntries.",
            "short",
            f"count({ready} == 0) or vector(0)",
            steps=GOOD_IF_ZERO,
        ),
        number(
            "Least budget left",
            "Smallest share of the error budget of 28 days that a service has left.",
            "percentunit",
            f"min({budget})",
            steps=GOOD_IF_HIGH,
        ),
        number(
            "Requests",
            "Requests to all services.",
            "reqps",
            f'sum(rate(edge_slo_requests_total{{namespace=~"$namespace"}}[{RATE}]))',
        ),
        number(
            "Firing alerts",
            "Alerts of this installation that fire now.",
            "short",
            'count(ALERTS{alertname=~"Edge.*", alertstate="firing"}) or vector(0)',
            steps=GOOD_IF_ZERO,
        ),
        rows(
            "Services, worst first",
            "By the error budget that is left. A burn rate of 1 uses exactly the budget in 28 days.",
            {"namespace": "Namespace", "service": "Service", "tenant": "Tenant", "pool": "Pool"},
            [
                Field(
                    "Budget left", f"max by ({SERVICE}, tenant, pool) ({budget})", "percentunit", GOOD_IF_HIGH
                ),
                Field(
                    "Attainment, 5 min",
                    f'max by ({SERVICE}, tenant, pool) (edge_slo_attainment_ratio{{{_OWN}, window="5m"}})',
                    "percentunit",
                    PLAIN,
                ),
                Field("Objective", f"max by ({SERVICE}, tenant, pool) ({objective})", "percentunit"),
                Field(
                    "Burn rate, 1 h",
                    f'max by ({SERVICE}, tenant, pool) ({BURN_RATE}{{{_OWN}, window="1h"}})',
                    "short",
                    GOOD_IF_SLOW,
                ),
                Field(
                    "P95",
                    f"max by ({SERVICE}, tenant, pool) (edge_qoe_latency_seconds{{{_OWN}}})",
                    "s",
                ),
                Field(
                    "SLO latency",
                    f"max by ({SERVICE}, tenant, pool) (edge_slo_latency_seconds{{{_OWN}}})",
                    "s",
                ),
            ],
            sort="Budget left",
            link=_SERVICE_BOARD,
        ),
        graph(
            "Burn rate over 1 hour, ten worst",
            "Error ratio over error budget: above 1, the budget of 28 days will not last.",
            "short",
            Query(f'topk(10, {BURN_RATE}{{{_OWN}, window="1h"}})', _NAMED),
        ),
        graph(
            "Error budget left, ten worst",
            "Share of the error budget of 28 days, as the operator counts it.",
            "percentunit",
            Query(f"bottomk(10, {budget})", _NAMED),
            maximum=1,
        ),
        graph(
            "Requests that miss the SLO, ten worst",
            "Share of the requests of 5 minutes.",
            "percentunit",
            Query(
                f'topk(10, {ERROR_RATIO}{{namespace=~"$namespace", window="5m"}})',
                _NAMED,
            ),
            maximum=1,
        ),
    ]
    return assembled(made, {"Objectives": panels})
