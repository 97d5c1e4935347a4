"""`ei explain`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from edge_cli import connections
from edge_cli.errors import CommandError
from edge_cli.flags import At, Context, Kubeconfig, Namespace, Output, Service
from edge_cli.output import Format, show

if TYPE_CHECKING:
    from edge_operator.explaining.values import Explanation


def explain(
    service: Service,
    *,
    at: At = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    output: Output = Format.TEXT,
) -> None:
    """Shows how a service is planned at each entry node, what lost and why, and what would meet its SLO.

    The pool is planned again by the operator's functions, from what the API server has. Nothing is changed.
    """
    from edge_operator.explaining.services import explain_service
    from edge_operator.explaining.text import explanation_text

    here = connections.connect(namespace, context, kubeconfig)
    found = explain_service(here.cluster, here.namespace, service, here.operator(), here.now())
    chosen = only_at(found, at or ())
    show(chosen, output, lambda: explanation_text(chosen))


def only_at(found: Explanation, nodes: Collection[str]) -> Explanation:
    """Returns the explanation of some entry nodes; no names: of all. Raises CommandError for others."""
    there = [entry.node for entry in found.entries]
    for node in nodes:
        if node not in there:
            raise CommandError(
                f'--at: "{node}" is not an entry node of {found.namespace}/{found.service}: use one of '
                f"{', '.join(there)}"
            )
    if not nodes:
        return found
    return found.model_copy(update={"entries": tuple(e for e in found.entries if e.node in nodes)})
