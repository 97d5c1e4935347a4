"""Gives CustomResourceDefinitions that no Helm release owns to one: what a hook of the chart runs.

Helm installs no object that exists without its marks, and upgrades nothing of a chart's folder crds/.
"""

from collections.abc import Sequence
from typing import Protocol

from edge_api.kinds import KINDS
from edge_api.objects import GROUP
from edge_api.schemas import definition
from edge_operator.cluster import CRDS, Kind, Object
from edge_operator.errors import ClusterError

HELM = "helm"
"""The field manager of Helm, whose later applies must not conflict."""


class Definitions(Protocol):
    """The API server as the adoption uses it."""

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None: ...
    def take_over(self, wanted: Object, current: Object, manager: str) -> None: ...


def adopt(cluster: Definitions, names: Sequence[str], release: str, namespace: str) -> list[str]:
    """Replaces the named CRDs by those of this version, as objects of a release; returns the replaced ones.

    Their objects stay. namespace: of the release. Raises ClusterError.
    """
    ours = {f"{kind.resource.plural}.{GROUP}": definition(kind) for kind in KINDS.values()}
    if unknown := sorted(set(names) - ours.keys()):
        raise ClusterError(f'"{unknown[0]}" is not a CRD of this version: use {", ".join(sorted(ours))}')
    changed = []
    for name in names:
        current = cluster.get(CRDS, None, name)
        if current is not None:  # else the release of the next upgrade installs it
            cluster.take_over(owned(ours[name], release, namespace), current, HELM)
            changed.append(name)
    return changed


def owned(crd: Object, release: str, namespace: str) -> Object:
    """Returns a CRD with the marks by which Helm knows it as an object of a release."""
    annotations = {
        "helm.sh/resource-policy": "keep",
        "meta.helm.sh/release-name": release,
        "meta.helm.sh/release-namespace": namespace,
    }
    labels = {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/part-of": "edge-intelligence"}
    meta = {"name": crd["metadata"]["name"], "labels": labels, "annotations": annotations}
    return crd | {"metadata": meta}
