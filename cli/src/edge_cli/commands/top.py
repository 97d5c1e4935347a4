"""`ei top`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from edge_cli import connections
from edge_cli.flags import AllNamespaces, Context, Kubeconfig, Namespace, Output, duration
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_cli.connections import Connection
    from edge_cli.services import PublishedTable

Counts = Mapping[tuple[str, str, str], int]
"""Requests since the runtime began to count, by namespace, service and entry node."""


def top(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="Only this service.", show_default=False)
    ] = None,
    *,
    every: Annotated[float, duration("--every", help="Time between two reads.", default_text="2s")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the table once, and end.")] = False,
    all_namespaces: AllNamespaces = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Shows live what each entry node does: its route, link, latency, SLO attainment and requests.

    Runtimes report counters every few seconds, so the rate of requests lags behind. Ctrl-C ends it. JSON and
    YAML are printed once.
    """
    here = connections.connect(namespace, context, kubeconfig)
    where = None if all_namespaces else here.namespace
    if once or output is not Format.TEXT:
        found = read(here, where, service)
        show(found, output, lambda: text(found, {}, 0.0))
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    before: Counts = {}
    at = time.monotonic()
    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            tables = read(here, where, service)
            now = time.monotonic()
            live.update(Text.from_ansi(text(tables, before, now - at)), refresh=True)
            before, at = counts(tables), now
            time.sleep(every)


def read(here: Connection, namespace: str | None, service: str | None) -> list[PublishedTable]:
    """Returns the published tables, by service and entry node. Raises ClusterError."""
    from edge_cli.services import published_table
    from edge_operator.cluster import PLACEMENTS

    found = map(published_table, here.cluster.find(PLACEMENTS, namespace))
    chosen = [each for each in found if service in (None, each.service)]
    return sorted(chosen, key=lambda each: (each.namespace, each.service, each.node))


def counts(found: Sequence[PublishedTable]) -> Counts:
    """Returns the requests so far."""
    return {(each.namespace, each.service, each.node): each.requests for each in found}


def text(found: Sequence[PublishedTable], before: Counts, seconds: float) -> str:
    """Returns a line for each entry node. before: requests at the read `seconds` earlier."""
    from edge_planning.choosing.sentences import bandwidth_text

    rows = []
    for each in found:
        active = next((route for route in each.routes if route.active), None)
        earlier = before.get((each.namespace, each.service, each.node))
        rate = ""
        if earlier is not None and seconds > 0 and each.requests >= earlier:
            rate = f"{(each.requests - earlier) / seconds:.1f}"
        link = each.link
        measured = "" if link is None or link.bandwidth is None else bandwidth_text(link.bandwidth)
        rows.append(
            (
                f"{each.namespace}/{each.service}",
                each.node,
                active.name if active is not None else "",
                "Down" if link is not None and link.state == "Down" else measured,
                "" if each.p95 is None else str(each.p95),
                f"{each.met / each.requests:.3f}" if each.requests else "",
                str(each.requests),
                rate,
                each.message or ("" if each.loaded else "loading"),
            )
        )
    if not rows:
        return "no route tables are published: see `ei status`"
    head = ("SERVICE", "NODE", "ROUTE", "LINK", "P95", "IN TIME", "REQUESTS", "PER S", "SAYS")
    return table(head, rows, right=("P95", "IN TIME", "REQUESTS", "PER S"))
