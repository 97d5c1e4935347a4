"""`ei routes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_cli import connections
from edge_cli.errors import CommandError
from edge_cli.flags import At, Context, Kubeconfig, Namespace, Output, Service
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_cli.services import PublishedTable


def routes(
    service: Service,
    *,
    at: At = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Shows the published route tables of a service: which route is active, and at which bandwidth."""
    from edge_cli.services import published_table
    from edge_operator.cluster import PLACEMENTS
    from edge_operator.names import SERVICE_LABEL, label_value

    here = connections.connect(namespace, context, kubeconfig)
    selector = f"{SERVICE_LABEL}={label_value(service)}"
    bodies = here.cluster.find(PLACEMENTS, here.namespace, selector)
    found = sorted(map(published_table, bodies), key=lambda each: each.node)
    if not found:
        raise CommandError(
            f"InferenceService {here.namespace}/{service}: no route table is published: see `ei status`"
        )
    unknown = sorted(set(at or ()) - {each.node for each in found})
    if unknown:
        there = ", ".join(each.node for each in found)
        raise CommandError(f'--at: "{unknown[0]}" has no route table of {service}: use one of {there}')
    chosen = [each for each in found if not at or each.node in at]
    show(chosen, output, lambda: text(chosen))


def text(found: Sequence[PublishedTable]) -> str:
    """Returns a line for each route, by entry node; `*` marks the active one."""
    from edge_planning.choosing.sentences import bandwidth_text, seconds_text

    rows = []
    for each in found:
        link = each.link
        measured = "" if link is None or link.bandwidth is None else bandwidth_text(link.bandwidth)
        if link is not None and link.state == "Down":
            measured = "Down"
        for index, route in enumerate(each.routes):
            rows.append(
                (
                    "" if index else each.node,
                    "" if index else measured,
                    "*" if route.active else " ",
                    route.name,
                    f"{route.accuracy:.3f}",
                    bandwidth_text(route.used_from) if route.used_from else "always",
                    seconds_text(route.predicted_latency),
                    " > ".join(route.stages),
                )
            )
    head = ("NODE", "LINK", " ", "ROUTE", "ACCURACY", "USED FROM", "LATENCY", "PLACES")
    lines = [table(head, rows, right=("ACCURACY", "LATENCY"))]
    lines += [f"{each.node}: {each.message}" for each in found if each.message]
    return "\n".join(lines)
