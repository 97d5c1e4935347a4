"""Checks of the admission webhook. Pure."""

from collections.abc import Iterator
from typing import Final

from edge_cli.doctor.findings import Check, Found, at
from edge_cli.doctor.states import ClusterState
from edge_operator.cluster import DEPLOYMENTS, WEBHOOKS


def _uncalled(state: ClusterState) -> Iterator[Found]:
    """Yields why the API server cannot call a webhook of the chart."""
    for body in state.part_of_chart(WEBHOOKS):
        for hook in body.get("webhooks") or ():
            config = hook.get("clientConfig") or {}
            service = config.get("service") or {}
            if not config.get("caBundle"):
                yield at(
                    body,
                    f"webhooks[{hook['name']}].clientConfig.caBundle is empty: the API server does "
                    "not trust it",
                )
            deployment = state.named(DEPLOYMENTS, service.get("namespace", ""), service.get("name", ""))
            if deployment is None:
                yield at(
                    body,
                    f"Deployment {service.get('namespace')}/{service.get('name')} does not exist",
                    "Install the chart again with helm, or delete the configuration.",
                )
            elif not (deployment.get("status") or {}).get("readyReplicas"):
                yield at(deployment, "no pod is ready", "")


CHECKS: Final = (
    Check(
        "EI0212",
        "installation",
        "warning",
        "the API server can call the admission webhook",
        "With failurePolicy Ignore, mistakes are reported in conditions instead of refused. With Fail, new "
        "specs are refused.",
        "Read the events of its pods: `kubectl describe pods -l app.kubernetes.io/name=edge-admission -A`; "
        "the operator, or cert-manager, writes caBundle.",
        _uncalled,
        reads=(WEBHOOKS, DEPLOYMENTS),
    ),
)
