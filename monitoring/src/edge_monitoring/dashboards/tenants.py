"""How tenants share the pools."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from edge_monitoring.panels import (
    GOOD_IF_ZERO,
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
from edge_monitoring.rules import BUDGET_LEFT

_OWN: Final = 'tenant=~"$tenant"'


def _amount(name: str) -> str:
    return f'max by (tenant) (edge_operator_tenant_resources{{{_OWN}, amount="{name}", kind="$kind"}})'


def _services(state: str) -> str:
    return f'max by (tenant) (edge_operator_tenant_services{{{_OWN}, state="{state}"}})'


def tenants() -> Dashboard:
    """Returns the dashboard of all tenants."""
    made = board(
        "edge-tenants",
        "Edge intelligence / Tenants",
        "What each tenant uses, borrows and lends, and whose services are stepped down.",
        [
            choice("tenant", "Tenant", "label_values(edge_operator_tenant_weight, tenant)", several=True),
            choice("kind", "Resource", "label_values(edge_operator_tenant_resources, kind)"),
        ],
    )
    panels: list[Panel] = [
        number(
            "Tenants",
            "Tenants with a share of a pool.",
            "short",
            f"count(max by (tenant) (edge_operator_tenant_weight{{{_OWN}}}))",
            span=6,
        ),
        number(
            "Stepped down",
            "Services with less than they would have alone.",
            "short",
            f"sum({_services('stepped_down')})",
            steps=GOOD_IF_ZERO,
            span=6,
        ),
        number(
            "Refused",
            "Services without routes at an entry node for lack of room.",
            "short",
            f"sum({_services('refused')})",
            steps=GOOD_IF_ZERO,
            span=6,
        ),
        number(
            "Largest share",
            "Largest part of any one resource that a tenant uses.",
            "percentunit",
            f'max(edge_operator_tenant_share{{{_OWN}, amount="used"}})',
            span=6,
        ),
        rows(
            "Tenants by borrowed share over weight",
            "Who borrows most for its weight gives back first.",
            {"tenant": "Tenant"},
            [
                Field("Weight", f"max by (tenant) (edge_operator_tenant_weight{{{_OWN}}})", "short"),
                Field(
                    "Share used",
                    f'max by (tenant) (edge_operator_tenant_share{{{_OWN}, amount="used"}})',
                    "percentunit",
                ),
                Field(
                    "Share borrowed",
                    f'max by (tenant) (edge_operator_tenant_share{{{_OWN}, amount="borrowed"}})',
                    "percentunit",
                ),
                Field(
                    "Borrowed over weight",
                    f"max by (tenant) (edge_operator_tenant_weighted_share{{{_OWN}}})",
                    "percentunit",
                ),
                Field("Stepped down", _services("stepped_down"), "short", GOOD_IF_ZERO),
                Field("Refused", _services("refused"), "short", GOOD_IF_ZERO),
            ],
            sort="Borrowed over weight",
            descending=True,
            height=6,
        ),
        graph(
            "Share used",
            "Largest part of any one resource that a tenant uses.",
            "percentunit",
            Query(f'max by (tenant) (edge_operator_tenant_share{{{_OWN}, amount="used"}})', "{{tenant}}"),
            maximum=1,
        ),
        graph(
            "Borrowed over weight",
            "Largest part of any one resource beyond the entitlement, over the weight.",
            "percentunit",
            Query(f"max by (tenant) (edge_operator_tenant_weighted_share{{{_OWN}}})", "{{tenant}}"),
        ),
        graph(
            "Stepped-down and refused services",
            "Services of each tenant, by state.",
            "short",
            Query(_services("stepped_down"), "{{tenant}}, stepped down"),
            Query(_services("refused"), "{{tenant}}, refused"),
        ),
        graph(
            "Used",
            "Amount that a tenant uses over all pools, in cores, bytes, bit/s or seconds per second.",
            "short",
            Query(_amount("used"), "{{tenant}}"),
        ),
        graph(
            "Nominal",
            "Amount that a tenant is entitled to.",
            "short",
            Query(_amount("nominal"), "{{tenant}}"),
        ),
        graph(
            "Borrowed",
            "Amount beyond the entitlement, which other tenants lend.",
            "short",
            Query(_amount("borrowed"), "{{tenant}}"),
            span=8,
        ),
        graph(
            "Lent",
            "Amount of the entitlement that other tenants use.",
            "short",
            Query(_amount("lent"), "{{tenant}}"),
            span=12,
        ),
        graph(
            "Least error budget left",
            "Smallest error budget of a service of each tenant.",
            "percentunit",
            Query(f"min by (tenant) ({BUDGET_LEFT}{{{_OWN}}})", "{{tenant}}"),
            maximum=1,
            span=12,
        ),
    ]
    return assembled(made, {"Shares": panels})
