"""Runs the second act on the demo's cluster, after the first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Console

from demo.clusters import DemoCluster, Say, Step
from demo.errors import DemoError
from demo.sharing.phase_runner import play
from demo.sharing.phases import planned
from demo.sharing.results import SharingResult
from demo.sharing.tenants import clients, listed, shared, tenants
from demo.sharing.terminal import display
from demo.training import TrainedModel
from testbed import TestbedError

_LOST_AFTER: Final = 4.0
"""SLOs without a response after which a request is lost, if that is longer than for the first act."""


def demonstrate(
    cluster: DemoCluster,
    model: TrainedModel,
    speeds: Mapping[str, float],
    *,
    seconds: float,
    timeout: float,
    console: Console,
    step: Step,
    say: Say,
) -> SharingResult:
    """Runs two tenants, of which one sends ten times its declared rate for `seconds`.

    speeds: of the nodes, in cores by device class; empty if the demo does not limit them. timeout: seconds
    after which a request is lost. If tenants cannot start or be removed, the result has the error.
    """
    at = shared(cluster)
    terms = at.terms
    cluster.set_links(None)
    say(
        f"{terms.quiet} and {terms.noisy} declare {terms.rate:g} requests/s each "
        f"at {' and '.join(terms.nodes)}, with an SLO of {terms.slo * 1e3:.0f} ms"
    )
    result = SharingResult(terms, ())
    try:
        with tenants(cluster, at, model.onnx, speeds, step, say):
            late = max(timeout, _LOST_AFTER * terms.slo)
            with (
                clients(cluster, terms, timeout=late, held_out=model.held_out) as by_tenant,
                step("two tenants"),
                display(console) as table,
            ):
                phases = planned(seconds)
                result = play(terms, phases, by_tenant, lambda: listed(cluster), table.show, say)
                table.close(result)
    except (DemoError, TestbedError) as error:
        result = SharingResult(terms, result.phases, result.listed, str(error))
    return result
