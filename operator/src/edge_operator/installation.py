"""What only the API server knows of an installation, read once at the start."""

import dataclasses

from edge_operator.cluster import NAMESPACES, Cluster
from edge_operator.errors import ClusterError
from edge_operator.nodes.workloads import traffic_distribution
from edge_operator.settings import Settings
from edge_operator.tritons.tail_models import installation_identity


def identified(settings: Settings, cluster: Cluster, scope: str | None) -> Settings:
    """Returns the settings with what only the API server knows. Raises ClusterError."""
    system = cluster.fetch(NAMESPACES, None, "kube-system")
    if system is None:
        raise ClusterError("Namespace kube-system does not exist: its uid identifies the cluster")
    identity = installation_identity(system["metadata"]["uid"], settings.namespace, scope)
    distribution = traffic_distribution(cluster.version())
    return dataclasses.replace(settings, installation=identity, traffic_distribution=distribution)
