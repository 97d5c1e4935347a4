"""DevicePool: the nodes and Triton servers that services may use."""

import ipaddress
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from edge_api.objects import (
    AGE,
    Column,
    Conditions,
    KubernetesObject,
    Part,
    Resource,
    StatusPart,
    condition_column,
)
from edge_api.quantities import Duration, Quantity
from edge_api.rules import Label, PositiveDuration, PositiveQuantity, matching, one_of_each
from edge_api.selectors import NodeSelector
from edge_api.words import shown

_HOST_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_ADDRESS = matching(
    rf"^({_HOST_LABEL}(\.{_HOST_LABEL})*\.?|\[[0-9A-Fa-f:.]+\]):{_PORT}$",
    "is not an address: write host:port without a scheme or a path and an IPv6 address in brackets, e.g. "
    "triton.triton.svc.cluster.local:8000 or [fd00::1]:8000",
)
DeviceClass = Label


def _whole_address(address: str) -> str:
    """What the pattern cannot tell: whether the digits in brackets are an IPv6 address."""
    if address.startswith("["):
        literal = address[1 : address.index("]")]
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            raise ValueError(
                f"{shown(literal)} is not an IPv6 address: write one, e.g. [fd00::1]:8000"
            ) from None
    return address


class NodeGroup(Part):
    """Nodes that run a model equally fast."""

    tier: Literal["device", "edge"] = Field(
        default="edge",
        description="What the nodes are. Requests arrive at both. A device may hand a part of a model on to "
        "an edge node of the pool; an edge node hands on to Triton only. Default edge.",
    )
    device_class: DeviceClass = Field(
        description="Name for nodes with the same latency behaviour. A model is profiled once per class, on "
        "one of its nodes, so nodes of different speed need different classes."
    )
    node_selector: NodeSelector = Field(description="Labels of the nodes, all of which they must have.")


class TritonServer(Part):
    """A Triton server that runs the parts of models beyond the cut."""

    name: Label = Field(description="Name of the place, unique in the pool, e.g. cloud.")
    http_address: Annotated[str, Field(max_length=260), _ADDRESS, AfterValidator(_whole_address)] = Field(
        description="host:port at which Triton speaks HTTP, an IPv6 address in brackets. It must run with "
        "--model-control-mode=explicit."
    )
    scheme: Literal["HTTP", "HTTPS"] = Field(
        default="HTTP",
        description="How httpAddress is asked. HTTPS is for a proxy that ends TLS in front of Triton, which "
        "speaks none over HTTP: operator and runtimes show certificates of the chart's operator.tlsSecret "
        "and runtime.tlsSecret; the proxy's must hold the host of httpAddress and be signed by their ca.crt. "
        "Default HTTP.",
    )
    device_class: DeviceClass = Field(
        description="Class of the server, under which the remote parts are profiled."
    )
    backend: Literal["onnxruntime", "python"] = Field(
        default="onnxruntime",
        description="The Triton backend that runs the slices. onnxruntime: Triton's own. python: a model.py "
        "that uses the onnxruntime package. Default onnxruntime.",
    )
    node_selector: NodeSelector = Field(
        description="Labels of the nodes on which the server's class is profiled, all of which they must "
        "have."
    )

    @property
    def url(self) -> str:
        """Where its HTTP is asked, with the scheme."""
        return f"{self.scheme.lower()}://{self.http_address}"


class LocalLinks(Part):
    """The links between the nodes of the pool, as they are said to be: they are not measured."""

    bandwidth: PositiveQuantity = Field(
        default=Quantity(1_000_000_000), description="Bandwidth in bit/s, e.g. 100M. Default 1G."
    )
    round_trip: PositiveDuration = Field(
        default=Duration(0.001), description="Round-trip time, e.g. 1ms. Default 1ms."
    )


class Links(Part):
    """How the links between entry nodes and Triton servers are measured, and those between nodes are."""

    probe_interval: PositiveDuration = Field(
        default=Duration(2.0),
        description="Time between two active bandwidth probes of an idle link, e.g. 2s. A link in use is "
        "measured by its own traffic. Default 2s.",
    )
    probe_budget: Quantity = Field(
        default=Quantity(16 << 20),
        description="Bytes an hour that these probes may cost, for each service and entry node, e.g. 1Mi for "
        "a metered link. When it runs low they become smaller, then rarer, down to one of half a KiB every "
        "30s. Default 16Mi.",
    )
    local: LocalLinks = Field(
        default=LocalLinks(),
        description="The links from devices to edge nodes. They are declared here, not measured.",
    )


class DevicePoolSpec(Part):
    """Nodes, Triton servers and the links between them."""

    nodes: Annotated[tuple[NodeGroup, ...], Field(min_length=1, max_length=32)] = Field(
        description="Groups of nodes, at least one. A node that several groups select belongs to the first "
        "of them."
    )
    triton_servers: Annotated[
        tuple[TritonServer, ...], Field(max_length=16), one_of_each("name", "tritonServers")
    ] = Field(
        default=(),
        description="The Triton servers. The first is used; without one every service answers at its entry "
        "node alone. Default: none.",
    )
    links: Links = Field(default=Links(), description="How the links are measured.")


class PoolNode(StatusPart):
    """A node of the pool."""

    name: str = Field(description="Name of the node.")
    device_class: str = Field(description="Class that the node belongs to.")


class DevicePoolStatus(StatusPart):
    """What the pool consists of at the moment."""

    observed_generation: int = Field(
        default=0, description="The metadata.generation that this status is about."
    )
    conditions: Conditions = Field(default=(), description="Ready, with reason and message.")
    node_count: int = Field(default=0, description="How many nodes the groups select.")
    nodes: tuple[PoolNode, ...] = Field(default=(), description="The nodes that the groups select.")


class DevicePool(KubernetesObject):
    """Nodes by device class, Triton servers, and how the links between them are measured."""

    resource: ClassVar[Resource] = Resource(
        plural="devicepools",
        short_names=("dp",),
        namespaced=False,
        columns=(
            condition_column("Ready", "Ready", "status", "Whether every group selects a node."),
            Column("Nodes", ".status.nodeCount", "How many nodes the groups select.", "integer"),
            Column("Triton", ".spec.tritonServers[0].httpAddress", "The Triton server in use."),
            condition_column("Reason", "Ready", "reason", "Why it is ready or not."),
            AGE,
        ),
    )

    kind: Literal["DevicePool"] = "DevicePool"
    spec: DevicePoolSpec = Field(description="What belongs to the pool.")
    status: DevicePoolStatus | None = Field(default=None, description="What was found.")
