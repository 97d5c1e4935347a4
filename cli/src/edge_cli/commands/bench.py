"""`ei bench`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_cli import connections
from edge_cli.commands.infer import Address, CaFile, Node, Timeout
from edge_cli.errors import CommandError, ExitStatus
from edge_cli.flags import Context, Kubeconfig, Namespace, Output, Service, duration
from edge_cli.output import Format, show, table

if TYPE_CHECKING:
    from edge_cli.benchmarking import BenchResult, Sample
    from edge_cli.connections import Connection


def bench(
    service: Service,
    *,
    seconds: Annotated[float, duration("--duration", help="How long to send.", default_text="10s")] = 10.0,
    requests: Annotated[int | None, typer.Option("--requests", help="Stop after so many.", min=1)] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Requests per second. Default: as fast as responses come.", min=0.001),
    ] = None,
    connections_: Annotated[
        int, typer.Option("--connections", "-c", help="Requests in flight at most.", min=1, max=256)
    ] = 4,
    npy: Annotated[
        Path | None, typer.Option("--npy", metavar="FILE", help="Inputs. Default: random numbers.")
    ] = None,
    address: Address = None,
    at: Node = None,
    ca_file: CaFile = None,
    timeout: Timeout = 30.0,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Sends load to a service; shows quantiles of its latency, its throughput, and the routes that answered.

    Through the API server, the figures contain its time: call a service directly with --address to measure
    it. Exits with 1 if a request failed.
    """
    from edge_cli.benchmarking import Load, result
    from edge_cli.feeds import generated_feeds, numpy_feeds
    from edge_cli.inference import ServiceClient, reached

    here = None if address is not None else connections.connect(namespace, context, kubeconfig)
    with reached(here, service, address, at) as url:

        def client() -> ServiceClient:
            return ServiceClient(url, service, timeout, ca_file)

        first = client()
        try:
            forms = first.inputs()
            feeds = generated_feeds(forms, 0) if npy is None else numpy_feeds(npy, forms)
            first.infer(feeds)  # what is wrong with the inputs is said once
        finally:
            first.close()
        load = Load(client, feeds, connections_, rate)
        took = load.run(seconds, requests)
    found = result(load.samples, took, _slo(here, service))
    show(found, output, lambda: text(found, load.samples))
    if found.failed:
        raise typer.Exit(ExitStatus.PROBLEM)


def _slo(here: Connection | None, service: str) -> float | None:
    """Returns the latency of the service's SLO in seconds, if the cluster is known."""
    from edge_operator.errors import OperatorError
    from edge_operator.explaining.services import service_of

    if here is None:
        return None
    try:
        return float(service_of(here.cluster, here.namespace, service).spec.slo.latency)
    except (OperatorError, CommandError):
        return None


def text(found: BenchResult, samples: Sequence[Sample]) -> str:
    """Returns the figures, a picture of the latencies, and the routes."""
    from edge_cli.benchmarking import histogram

    counted = (
        f"{found.requests} requests in {found.seconds:g} s, {found.failed} failed, {found.refused} refused"
    )
    lines = [counted, f"{found.throughput:g} responses/s"]
    if found.latency_ms:
        lines.append(
            "latency " + ", ".join(f"{name} {value:g} ms" for name, value in found.latency_ms.items())
        )
    if found.in_time is not None:
        lines.append(f"{100 * found.in_time:.1f} % within the SLO")
    lines += ["", *histogram(samples)]
    if found.routes:
        rows = [(route, str(count)) for route, count in found.routes.items()]
        lines += ["", table(("ROUTE", "RESPONSES"), rows, right=("RESPONSES",))]
    lines += [f"{count} x {error}" for error, count in found.errors.items()]
    return "\n".join(lines)
