"""`ei status`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from edge_cli import connections
from edge_cli.errors import CommandError
from edge_cli.flags import AllNamespaces, Context, Kubeconfig, Namespace, Output
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_cli.services import ServiceStatus


def status(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="One service in detail.", show_default=False)
    ] = None,
    *,
    all_namespaces: AllNamespaces = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Shows services at a glance: whether they are ready, their SLO attainment, exits and cuts.

    With a name: its conditions and entry nodes.
    """
    from edge_cli.services import service_status
    from edge_operator.cluster import INFERENCE_SERVICES

    here = connections.connect(namespace, context, kubeconfig)
    if service is None:
        bodies = here.cluster.find(INFERENCE_SERVICES, None if all_namespaces else here.namespace)
        found = sorted(map(service_status, bodies), key=lambda each: (each.namespace, each.service))
        show(found, output, lambda: overview(found))
        return
    body = here.cluster.get(INFERENCE_SERVICES, here.namespace, service)
    if body is None:
        raise CommandError(f"InferenceService {here.namespace}/{service}: does not exist: see `ei status -A`")
    one = service_status(body, whole=True)
    show(one, output, lambda: details(one))


def overview(found: Sequence[ServiceStatus]) -> str:
    """Returns a line for each service."""
    if not found:
        return "no services: apply an InferenceService, or choose a namespace with -n or -A"
    head = ("NAMESPACE", "SERVICE", "READY", "ENTRIES", "SLO", "BUDGET", "P95", "EXIT", "CUT", "REASON")
    rows = [
        (
            each.namespace,
            each.service,
            each.ready,
            each.ready_entries or "",
            each.attainment or "",
            _percent(each.error_budget_remaining),
            "" if each.p95 is None else str(each.p95),
            each.exit or "",
            each.cut or "",
            each.reason,
        )
        for each in found
    ]
    return table(head, rows)


def details(found: ServiceStatus) -> str:
    """Returns conditions and entry nodes of a service."""
    head = ("CONDITION", "STATUS", "REASON", "MESSAGE")
    rows = [(each.type, each.status, each.reason, each.message) for each in found.conditions]
    lines = [f"InferenceService {found.namespace}/{found.service}", f"url: {found.url or '-'}", ""]
    lines.append(table(head, rows) if rows else found.message)
    if found.nodes:
        nodes = [
            (
                each.node,
                each.exit or "",
                each.cut or "",
                "" if each.bandwidth is None else str(each.bandwidth),
                "" if each.measured_latency is None else str(each.measured_latency),
                "" if each.attainment is None else str(each.attainment),
                each.reason or "",
            )
            for each in found.nodes
        ]
        lines += ["", table(("NODE", "EXIT", "CUT", "BANDWIDTH", "P95", "SLO", "REASON"), nodes)]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%"
