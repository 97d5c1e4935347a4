"""The rights that the operator's account needs, as the chart grants them. Pure."""

from collections.abc import Iterator
from typing import Final

from edge_cli.doctor.states import Right
from edge_operator.names import GROUP

_READ: Final = ("get", "list", "watch")
_KEPT: Final = (*_READ, "create", "patch", "delete")
_NAMESPACED: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (GROUP, "inferenceservices", _KEPT),
    (GROUP, "inferenceservices/status", ("patch",)),
    (GROUP, "inferenceservices/finalizers", ("update",)),
    (GROUP, "placements", _KEPT),
    (GROUP, "modelprofiles", (*_READ, "create", "patch")),
    ("apps", "deployments", _KEPT),
    ("", "services", _KEPT),
    ("", "serviceaccounts", _KEPT),
    ("rbac.authorization.k8s.io", "rolebindings", _KEPT),
    ("networking.k8s.io", "networkpolicies", _READ),
    ("", "pods", _READ),
    ("", "pods/resize", ("patch",)),
    ("", "events", ("create", "patch")),
    ("batch", "jobs", _READ),
)
"""Group, resource and verbs in the namespaces that the operator watches."""
_NAMED: Final = (("networking.k8s.io", "networkpolicies", "edge-default-deny", "edge-runtime"),)
"""Group, resource and names of objects there that it may create, change and delete."""
_CLUSTER_WIDE: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (GROUP, "devicepools", (*_READ, "patch")),
    (GROUP, "tenants", (*_READ, "patch")),
    (GROUP, "devicepools/status", ("patch",)),
    (GROUP, "tenants/status", ("patch",)),
    ("", "nodes", _READ),
    ("", "namespaces", _READ),
)
_IN_ITS_NAMESPACE: Final = (("batch", "jobs", _KEPT), ("coordination.k8s.io", "leases", ("create",)))


def required(namespace: str, scope: str | None) -> Iterator[Right]:
    """Yields the rights of an operator. scope: the only namespace that it watches; None: all."""
    for group, resource, verbs in _NAMESPACED:
        yield from (Right(verb, group, resource, scope or "") for verb in verbs)
    for group, resource, *names in _NAMED:
        for name in names:
            yield from (
                Right(verb, group, resource, scope or "", name) for verb in ("create", "patch", "delete")
            )
    for group, resource, verbs in _CLUSTER_WIDE:
        yield from (Right(verb, group, resource) for verb in verbs)
    for group, resource, verbs in _IN_ITS_NAMESPACE:
        yield from (Right(verb, group, resource, namespace) for verb in verbs)
    yield Right("update", "coordination.k8s.io", "leases", namespace, "edge-operator")
