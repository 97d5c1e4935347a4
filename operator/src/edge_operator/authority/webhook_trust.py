"""Tells the API server which authority the admission webhook's certificate is signed by."""

import base64
from typing import Final

from edge_operator.authority.provision import Holder
from edge_operator.cluster import WEBHOOKS, Cluster
from edge_operator.settings import Settings

SECRET: Final = "edge-admission-tls"  # noqa: S105 - a name
SERVICE: Final = "edge-admission"


def webhook_holder(settings: Settings) -> Holder | None:
    """Returns the holder for the admission webhook; None if it is not installed or brings a certificate."""
    if not settings.admission_webhook or settings.admission_secret:
        return None
    name = f"{SERVICE}.{settings.namespace}"
    names = {f"{name}.svc", f"{name}.svc.{settings.cluster_domain}"}
    return Holder(settings.namespace, SECRET, frozenset(names))


def trust(cluster: Cluster, configuration: str, authority: bytes) -> None:
    """Writes caBundle of each webhook of a ValidatingWebhookConfiguration, if it exists and differs.

    authority: certificates in PEM. The other fields stay those of the chart. Raises ClusterError.
    """
    live = cluster.get(WEBHOOKS, None, configuration)
    if live is None:
        return
    wanted = base64.b64encode(authority).decode()
    hooks = live.get("webhooks") or []
    if all(each.get("clientConfig", {}).get("caBundle") == wanted for each in hooks):
        return
    body = {
        "apiVersion": WEBHOOKS.api_version,
        "kind": WEBHOOKS.kind,
        "metadata": {"name": configuration},
        "webhooks": [{"name": each["name"], "clientConfig": {"caBundle": wanted}} for each in hooks],
    }
    cluster.apply(body, live, unchanged=True)
