"""`ei what-if`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edge_cli import connections
from edge_cli.errors import CommandError, ExitStatus
from edge_cli.flags import At, Context, Kubeconfig, Namespace, Output, Service, duration, quantity
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_operator.explaining.suppositions import Supposition
    from edge_operator.explaining.values import Outcome, SupposedService


def what_if(
    service: Service,
    *,
    bandwidth: Annotated[
        int | None, quantity("--bandwidth", help="Bandwidth of the links to Triton in bit/s, such as 1M.")
    ] = None,
    round_trip: Annotated[
        float | None, duration("--round-trip", help="Round trip of these links, such as 20ms.")
    ] = None,
    latency: Annotated[float | None, duration("--latency", help="Latency of the SLO, such as 50ms.")] = None,
    min_accuracy: Annotated[
        float | None, typer.Option("--min-accuracy", help="Minimum accuracy, from 0 to 1.", min=0, max=1)
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Requests per second at each entry node.", min=0)
    ] = None,
    at: At = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Shows what a service would get with another link, SLO or rate.

    The operator's functions plan the pool with the change. Nothing is changed.
    """
    from edge_operator.explaining.suppositions import Supposition, suppose

    supposition = Supposition(bandwidth, round_trip, latency, min_accuracy, rate, frozenset(at or ()))
    if supposition == Supposition(nodes=supposition.nodes):
        raise CommandError(
            "what-if: nothing differs: give --bandwidth, --round-trip, --latency, --min-accuracy or --rate",
            ExitStatus.USAGE,
        )
    here = connections.connect(namespace, context, kubeconfig)
    found = suppose(here.cluster, here.namespace, service, supposition, here.operator(), here.now())
    show(found, output, lambda: text(found, supposition))


def text(found: SupposedService, supposition: Supposition) -> str:
    """Returns the entry nodes before and after, and what else would be needed."""
    from edge_operator.explaining.suppositions import supposed_text

    rows = []
    for entry in found.entries:
        rows += [
            (entry.node, "now", *_cells(entry.before)),
            ("", "then", *_cells(entry.after)),
        ]
    head = ("NODE", "", "BANDWIDTH", "ROUTE", "ACCURACY", "LATENCY", "MEETS SLO")
    lines = [f"InferenceService {found.namespace}/{found.service} with {supposed_text(supposition)}"]
    lines += [f"note: {note}" for note in found.notes]
    lines += ["", table(head, rows, right=("ACCURACY", "LATENCY"))]
    for entry in found.entries:
        said = [each for each in (entry.shortage, *entry.remedies) if each]
        lines += [f"{entry.node}: {each}" for each in said]
    return "\n".join(lines)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    from edge_planning.choosing.sentences import bandwidth_text, seconds_text

    return (
        bandwidth_text(outcome.bandwidth),
        outcome.route or "no route table",
        "" if outcome.accuracy is None else f"{outcome.accuracy:.3f}",
        "" if outcome.latency is None else seconds_text(outcome.latency),
        "yes" if outcome.meets_slo else "no",
    )
