"""What `ei doctor` gathers of a cluster, as values. Pure."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from edge_operator.cluster import (
    DEPLOYMENTS,
    DEVICE_POOLS,
    EVENTS,
    INFERENCE_SERVICES,
    NAMESPACES,
    NODES,
    PLACEMENTS,
    PODS,
    WEBHOOKS,
    Kind,
    Object,
)

DEFINITIONS: Final = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
CLAIMS: Final = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
QUOTAS: Final = Kind("v1", "ResourceQuota", "resourcequotas")
STORAGE_CLASSES: Final = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
PROMETHEUSES: Final = Kind("monitoring.coreos.com/v1", "Prometheus", "prometheuses")
RULES: Final = Kind("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules")
POD_MONITORS: Final = Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors")
SERVICE_MONITORS: Final = Kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors")
EVERYWHERE: Final[tuple[Kind, ...]] = (
    NODES, NAMESPACES, DEVICE_POOLS, INFERENCE_SERVICES, PLACEMENTS, STORAGE_CLASSES, PROMETHEUSES, RULES,
    POD_MONITORS, SERVICE_MONITORS, WEBHOOKS,
)  # fmt: skip
"""The kinds that are listed in all namespaces. Those that the API server does not serve are empty."""
IN_OWN_NAMESPACES: Final[tuple[Kind, ...]] = (DEPLOYMENTS, PODS, CLAIMS, QUOTAS, EVENTS)
"""The kinds that are listed in the namespaces of the operator and of services."""
PART_OF: Final = ("app.kubernetes.io/part-of", "edge-intelligence")
"""Label of the chart's objects."""


class Right(NamedTuple):
    """A permission. resource: with a slash before a subresource. name: empty for all objects."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{group}{f' {self.name}' if self.name else ''}{where}"


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """A Triton server as it was found.

    Attributes:
        pool, name, url: As in the DevicePool.
        reachable: Whether it responded. None: it cannot be called from here.
        said: Why it did not respond.
        arguments: Of its container. None: no pod of this cluster is known to run it.
        marks: Parameters of the configuration of each model whose name is that of a tail.
        control_open: Whether it accepted model control without a key. None: not known.
    """

    pool: str
    name: str
    url: str
    reachable: bool | None = None
    said: str = ""
    arguments: tuple[str, ...] | None = None
    marks: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    control_open: bool | None = None


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """A certificate. where: the object that holds it."""

    where: str
    begins: datetime.datetime
    expires: datetime.datetime


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What was gathered of a cluster.

    Attributes:
        now: The time by the clock of the API server.
        namespace: Of the operator.
        installation: Identity of the installation in Triton; empty if it is not known.
        version: Of the API server, major and minor. None: it did not respond.
        unreachable: Why it did not respond.
        objects: By kind; without those that could not be listed.
        hidden: Why the objects of a kind could not be listed, by kind.
        rights: Whether the operator's account has each right that it needs. Empty: it could not be reviewed.
        own_rights: Whether this account has the rights to install the chart.
        clocks: Seconds that each clock is ahead of the API server's.
        program: Version of this program.
    """

    now: datetime.datetime
    namespace: str = "edge-intelligence"
    installation: str = ""
    version: tuple[int, int] | None = None
    unreachable: str = ""
    objects: Mapping[str, tuple[Object, ...]] = field(default_factory=lambda: MappingProxyType({}))
    hidden: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rights: Mapping[Right, bool] = field(default_factory=lambda: MappingProxyType({}))
    own_rights: Mapping[Right, bool] = field(default_factory=lambda: MappingProxyType({}))
    servers: tuple[ServerSeen, ...] = ()
    certificates: tuple[CertificateSeen, ...] = ()
    clocks: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    program: str = ""

    def of(self, kind: Kind) -> tuple[Object, ...]:
        """Returns the objects of a kind; none if they could not be listed."""
        return self.objects.get(kind.kind, ())

    def named(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Returns an object, if it is known."""
        found = (b for b in self.of(kind) if (_namespace(b), b["metadata"]["name"]) == (namespace, name))
        return next(found, None)

    def part_of_chart(self, kind: Kind) -> Iterable[Object]:
        """Yields the chart's objects of a kind."""
        label, value = PART_OF
        return (body for body in self.of(kind) if labels(body).get(label) == value)

    @property
    def own_namespaces(self) -> frozenset[str]:
        """The namespaces of the operator and of services."""
        return frozenset({self.namespace, *(_namespace(body) for body in self.of(INFERENCE_SERVICES))})


def labels(body: Mapping[str, Any]) -> Mapping[str, str]:
    """Returns the labels of an object."""
    found: Mapping[str, str] = body["metadata"].get("labels") or {}
    return found


def condition_of(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns a condition of an object; empty if it has none of that name."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    found: Mapping[str, Any] = next((each for each in conditions if each.get("type") == name), {})
    return found


def title(body: Mapping[str, Any]) -> str:
    """Returns how a sentence names an object."""
    namespace, name = _namespace(body), body["metadata"]["name"]
    return f"{body['kind']} {namespace}/{name}" if namespace else f"{body['kind']} {name}"


def _namespace(body: Mapping[str, Any]) -> str:
    return body["metadata"].get("namespace") or ""
