"""`ei simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_cli import connections
from edge_cli.errors import CommandError
from edge_cli.flags import Context, Kubeconfig, Namespace, Output, Service, duration, quantity
from edge_cli.output import Format, show

if TYPE_CHECKING:
    from edge_planning import EntryProblem, RouteTable
    from edge_planning_lab.simulation import Bandwidth, RunSummary


def simulate(
    service: Service,
    *,
    at: Annotated[
        str | None, typer.Option("--at", metavar="NODE", help="Entry node. Default: the first one.")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace", metavar="FILE", help="Bandwidth over time. Default: a synthetic mobile uplink."
        ),
    ] = None,
    bandwidth: Annotated[
        int | None,
        quantity("--bandwidth", help="Constant bandwidth in bit/s, such as 1M, in place of a trace."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Requests per second. Default: the planned one.", min=0.001)
    ] = None,
    seconds: Annotated[float, duration("--duration", help="Simulated time.", default_text="10m")] = 600.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the random numbers.")] = 1,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Simulates the route table that a service has now on a link whose bandwidth changes.

    The table is compared with Edgent's choice at the measured bandwidth. One service at one node: what others
    use of it is not simulated. Read docs/simulation.md for what is modeled.
    """
    from edge_operator.explaining.services import planned_service
    from edge_planning import Plan
    from edge_planning_lab.simulation import table

    here = connections.connect(namespace, context, kubeconfig)
    found = planned_service(here.cluster, here.namespace, service, here.operator(), here.now())
    by_node = {entry.member.node.name: entry for entry in found.entries}
    node = at or next(iter(by_node))
    if node not in by_node:
        raise CommandError(f'--at: "{node}" is not an entry node: use one of {", ".join(by_node)}')
    plan = by_node[node].plan
    if not isinstance(plan, Plan):
        raise CommandError(f"InferenceService {here.namespace}/{service}: no route table at {node}")
    asked = rate or found.pooled.spec.planned_rate or 1.0
    link = _link(trace, bandwidth, seconds, seed)
    rows = simulated(by_node[node].problem, plan.table, link, asked, seconds, seed)
    document = {name: _figures(row) for name, row in rows.items()}
    show(document, output, lambda: table(rows))


def simulated(
    problem: EntryProblem, table: RouteTable, link: Bandwidth, rate: float, seconds: float, seed: int
) -> dict[str, RunSummary]:
    """Returns the figures of the product with a table, and of Edgent. rate: requests per second."""
    import numpy as np

    from edge_planning import candidates
    from edge_planning_lab.baselines import AtMeasured, edgent, options_of
    from edge_planning_lab.simulation import (
        ProductPolicy,
        Scenario,
        SimulatedServer,
        Stream,
        Uplink,
        poisson,
        simulate,
        summary,
    )

    options = options_of(candidates(problem), deadline=problem.slo.latency)
    arrivals = poisson(np.random.default_rng(seed), rate, seconds)
    found = {}
    for policy in (ProductPolicy(table), AtMeasured("edgent", edgent)):
        stream = Stream(
            problem.model.name, "tenant", problem.node, "uplink", "triton", options, policy, arrivals
        )
        scenario = Scenario(
            [Uplink("uplink", link)], [SimulatedServer("triton")], [stream], duration=seconds + 10
        )
        found[policy.name] = summary(simulate(scenario).records)
    return found


def _link(trace: Path | None, bandwidth: int | None, seconds: float, seed: int) -> Bandwidth:
    import numpy as np

    from edge_planning.errors import PlanningError
    from edge_planning_lab.simulation import Bandwidth, LognormalProcess, read_trace

    if bandwidth is not None:
        return Bandwidth.constant(float(bandwidth))
    if trace is None:
        return LognormalProcess().sample(np.random.default_rng(seed), seconds)
    try:
        return read_trace(trace.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, PlanningError) as error:
        raise CommandError(f"--trace {trace}: {error}: docs/benchmarks.md lists formats of traces") from error


def _figures(row: RunSummary) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(row)
