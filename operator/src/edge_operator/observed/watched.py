"""The kinds that the operator watches."""

from collections.abc import Sequence

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
from edge_operator.names import OURS

WATCHED: tuple[Kind, ...] = (
    INFERENCE_SERVICES, DEVICE_POOLS, NODES, PLACEMENTS, DEPLOYMENTS, JOBS, MODEL_PROFILES, PODS, SERVICES,
    SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, TENANTS, NAMESPACES, NETWORK_POLICIES,
)  # fmt: skip
LABELLED = frozenset(WATCHED) - {INFERENCE_SERVICES, DEVICE_POOLS, NODES, TENANTS, NAMESPACES}
"""Kinds of which only the operator's own objects are watched."""
OWNED = (MODEL_PROFILES, SERVICES, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS, NETWORK_POLICIES)
"""Kinds whose objects are compared with the wanted ones after every change of their spec or labels."""
OF_NAMESPACES = tuple(kind for kind in OWNED if kind != MODEL_PROFILES)
"""Those of them that the loops of namespaces write; the loops of pools write the others."""
KINDS_BY_PLURAL = {kind.plural: kind for kind in WATCHED}


def watched_in(kind: Kind, namespaces: Sequence[str] | None) -> tuple[Sequence[str | None], str]:
    """Returns the namespaces in which objects of a kind are watched, and their labels.

    namespaces: those that the operator watches; None: all, as None among the returned ones.
    """
    within = namespaces if namespaces is not None and kind.namespaced else (None,)
    return within, OURS if kind in LABELLED else ""
