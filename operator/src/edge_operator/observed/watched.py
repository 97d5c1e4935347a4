"""The kinds that the operator watches."""

from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    INFERENCE_SERVICES,
    JOBS,
    MODEL_PROFILES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PLACEMENTS,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
    SERVICES,
    TENANTS,
    Kind,
)

WATCHED: tuple[Kind, ...] = (
    INFERENCE_SERVICES, DEVICE_POOLS, NODES, PLACEMENTS, DEPLOYMENTS, JOBS, MODEL_PROFILES, PODS, SERVICES,
    SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, TENANTS, NAMESPACES, NETWORK_POLICIES,
)  # fmt: skip
LABELLED = frozenset(WATCHED) - {INFERENCE_SERVICES, DEVICE_POOLS, NODES, TENANTS, NAMESPACES}
"""Kinds of which only the operator's own objects are watched."""
OWNED = (MODEL_PROFILES, SERVICES, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES)
"""Kinds whose objects are compared with the wanted ones after every change of their spec or labels."""
KINDS_BY_PLURAL = {kind.plural: kind for kind in WATCHED}
