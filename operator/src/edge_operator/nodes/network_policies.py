"""NetworkPolicies of the pods that the operator makes in the namespaces of services. Pure.

They select these pods alone: pods of the namespace's owner are not limited.
"""

from edge_operator.cluster import Object
from edge_operator.names import FETCHER, MANAGED_BY, ROLE_LABEL
from edge_operator.settings import Settings

DENY, ALLOW = "edge-default-deny", "edge-runtime"
_NAMESPACE_LABEL = "kubernetes.io/metadata.name"
_TEST_POD = {"app.kubernetes.io/name": "edge-test"}
"""The pod of the chart by which `helm test` sends inferences."""


def network_policies(namespace: str, settings: Settings) -> tuple[Object, ...]:
    """Returns the policies of a namespace with services; none if the installation has none.

    Nothing connects to the Jobs that fetch models. Runtimes accept connections of each other at all of their
    ports, and of clients and Prometheus at those that need no certificate of the installation's authority.
    """
    if (allowed := settings.network_policies) is None:
        return ()
    ours = {"matchLabels": dict(MANAGED_BY)}
    both = ours | {
        "matchExpressions": [{"key": ROLE_LABEL, "operator": "In", "values": ["runtime", FETCHER]}]
    }
    runtimes = {"matchLabels": {**MANAGED_BY, ROLE_LABEL: "runtime"}}
    open_ports = [
        {"port": name} for name in (*("http", "grpc"), *(["health"] if settings.tls_secret else []))
    ]
    clients: Object = {"ports": open_ports}
    if allowed.clients:
        test = {
            "namespaceSelector": {"matchLabels": {_NAMESPACE_LABEL: settings.namespace}},
            "podSelector": {"matchLabels": _TEST_POD},
        }
        clients["from"] = [*allowed.clients, test]
    rules = [{"from": [{"podSelector": runtimes}]}, clients]
    if allowed.clients and allowed.metrics:
        port = "health" if settings.tls_secret else "http"
        rules.append({"from": list(allowed.metrics), "ports": [{"port": port}]})
    return (
        _policy(DENY, namespace, {"podSelector": both, "policyTypes": ["Ingress"]}),
        _policy(ALLOW, namespace, {"podSelector": runtimes, "policyTypes": ["Ingress"], "ingress": rules}),
    )


def _policy(name: str, namespace: str, spec: Object) -> Object:
    meta = {"name": name, "namespace": namespace, "labels": dict(MANAGED_BY)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}
