"""What only the API server knows of an installation, read once at the start."""

import dataclasses
from typing import Final

from edge_operator.cluster import ADMISSION_POLICIES, NAMESPACES, Cluster
from edge_operator.errors import ClusterError
from edge_operator.nodes.workloads import traffic_distribution
from edge_operator.settings import Settings, StatusRights
from edge_operator.tritons.tail_models import installation_identity

_NODES_IN_TOKENS: Final = (1, 30)
"""Since this version of Kubernetes, tokens of pods name their node (ServiceAccountTokenPodNodeInfo)."""


def identified(settings: Settings, cluster: Cluster, scope: str | None) -> Settings:
    """Returns the settings with what only the API server knows. Raises ClusterError."""
    system = cluster.fetch(NAMESPACES, None, "kube-system")
    if system is None:
        raise ClusterError("Namespace kube-system does not exist: its uid identifies the cluster")
    version = cluster.version()
    return dataclasses.replace(
        settings,
        installation=installation_identity(system["metadata"]["uid"], settings.namespace, scope),
        traffic_distribution=traffic_distribution(version),
        status_rights=_status_rights(settings.status_rights, cluster, version),
    )


def _status_rights(given: StatusRights, cluster: Cluster, version: tuple[int, int]) -> StatusRights:
    """Returns what limits the reports of runtimes: never Auto. Raises ClusterError if it cannot."""
    if given in ("Roles", "Namespace"):
        return given
    if version >= _NODES_IN_TOKENS and cluster.serves(ADMISSION_POLICIES):
        return "Policy"
    if given == "Policy":
        raise ClusterError(
            f'EDGE_STATUS_RIGHTS: "Policy" requires {ADMISSION_POLICIES.kind} and Kubernetes 1.30 or later, '
            f"this API server of version {version[0]}.{version[1]} lacks them: set the chart value "
            "runtime.statusRights to Roles"
        )
    return "Roles"
