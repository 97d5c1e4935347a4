"""`ei tenants`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_cli import connections
from edge_cli.flags import Context, Kubeconfig, Output
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_cli.services import TenantLine


def tenants(
    *,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Shows tenants: their weights, what they use, borrow and lend of each pool, and what they lack."""
    from edge_cli.services import tenant_line
    from edge_operator.cluster import TENANTS

    here = connections.connect(None, context, kubeconfig)
    found = sorted(map(tenant_line, here.cluster.find(TENANTS)), key=lambda each: each.tenant)
    show(found, output, lambda: text(found))


def text(found: Sequence[TenantLine]) -> str:
    """Returns a line for each tenant, then one for each resource of its pools."""
    if not found:
        return "no Tenants: namespaces share pools with equal weights"
    head = ("TENANT", "WEIGHT", "NAMESPACES", "SHARE", "BORROWED", "STEPPED DOWN", "REFUSED", "REASON")
    rows = [
        (
            each.tenant,
            each.weight,
            str(each.namespaces),
            each.share or "",
            each.borrowed or "",
            str(each.stepped_down),
            str(each.refused),
            each.reason,
        )
        for each in found
    ]
    used = [
        (each.tenant, pool.name, one.kind, one.nominal, one.used, one.borrowed, one.lent)
        for each in found
        for pool in each.pools
        for one in pool.resources
    ]
    lines = [table(head, rows)]
    if used:
        lines += ["", table(("TENANT", "POOL", "RESOURCE", "ENTITLED TO", "USED", "BORROWED", "LENT"), used)]
    lines += [
        f"{each.tenant} in pool {pool.name}: {shortage}"
        for each in found
        for pool in each.pools
        for shortage in pool.shortages
    ]
    return "\n".join(lines)
