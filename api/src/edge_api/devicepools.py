"""DevicePool: the nodes and Triton servers that services can use."""

import ipaddress
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from edge_api.objects import (
    AGE,
    Column,
    Conditions,
    KeyedBy,
    KubernetesObject,
    Part,
    Resource,
    StatusPart,
    condition_column,
)
from edge_api.quantities import Duration, Quantity
from edge_api.rules import (
    Label,
    ObjectName,
    PositiveDuration,
    PositiveQuantity,
    Rule,
    between,
    formatted,
    matching,
    one_of_each,
)
from edge_api.selectors import SELECTS_SOMETHING, SELECTS_SOMETHING_IF_GIVEN, SelectsNodes
from edge_api.tolerations import Tolerations
from edge_api.words import shown

_HOST_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_ADDRESS = matching(
    rf"^({_HOST_LABEL}(\.{_HOST_LABEL})*\.?|\[[0-9A-Fa-f:.]+\]):{_PORT}$",
    "is not an address: write host:port without a scheme or a path and an IPv6 address in brackets, e.g. "
    "triton.triton.svc.cluster.local:8000 or [fd00::1]:8000",
)
DeviceClass = Label
Tier = Literal["Device", "Edge"]
ExecutionProvider = Literal["OpenVINO", "CPU", "CUDA", "TensorRT", "ACL", "CoreML"]
"""Those of the runtime; a test compares them."""


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


SecretName = Annotated[
    str,
    Field(max_length=253),
    matching(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "is not the name of a Secret: write lower-case letters, digits, hyphens and dots, e.g. triton-key",
    ),
]
_UserId = Annotated[int, Field(strict=True, ge=1, le=4_294_967_294)]
_WATTS = between(
    0, 100_000, "is not a power: write watts, above 0 and below 100000, e.g. 2.3", open_ends=True
)


class SharedMemory(Part):
    """Memory of a node in which pods of a namespace pass tensors to its runtimes."""

    claim_name: ObjectName = Field(
        description="Name of a PersistentVolumeClaim in each of the namespaces, which the runtimes mount: of "
        "a volume in memory of the node. Pods that mount it too can pass tensors as files in it. Required."
    )
    namespaces: Annotated[tuple[Label, ...], Field(min_length=1, max_length=256)] = Field(
        description="Namespaces whose runtimes mount the claim, 1 to 256. A runtime does not start while its "
        "namespace lacks the claim. Required."
    )
    owners: Annotated[tuple[_UserId, ...], Field(min_length=1, max_length=16)] | None = Field(
        default=None,
        description="IDs of users whose files the runtimes accept too, 1 to 16, each from 1 to 4294967294. "
        "They are copied; those of user 65532, as whom runtimes run, are not. Default: no other users.",
    )


class NodeGroup(SelectsNodes):
    """Nodes with the same compute performance."""

    tier: Tier = Field(
        default="Edge",
        description="Tier of the nodes. Both tiers can be entry nodes. Device: they can offload slices "
        "to nodes of tier Edge in the pool and to Triton. Edge: only to Triton. Default: Edge.",
    )
    device_class: DeviceClass = Field(
        description="Device class of the nodes. Each model is profiled once per class, on one of its nodes, "
        "so nodes of different speed need different classes. Required."
    )
    tolerations: Tolerations | None = Field(
        default=None,
        description="Taints of the nodes that their runtimes and profiling Jobs tolerate, at most 16. "
        "Default: none; a runtime always tolerates a node that is not ready or unreachable.",
    )
    memory: PositiveQuantity | None = Field(
        default=None,
        description="Memory of each node that plans count for runtimes and slices, in bytes above 0, e.g. "
        "2Gi; no more than pods can use. Default: all that pods can use.",
    )
    idle_memory: PositiveQuantity | None = Field(
        default=None,
        description="Memory in bytes, above 0, e.g. 512Mi, in which the runtime of each namespace on a node "
        "may keep services loaded beyond their spec.scaling.idleAfter. Of those that do not fit, the ones "
        "without requests for the longest time are let go. Default: all are let go.",
    )
    watts: Annotated[float, Field(strict=True), _WATTS] | None = Field(
        default=None,
        description="Power of a node while it computes, in watts above its idle power, above 0 and below "
        "100000. Default: the energy of computing is not counted.",
    )
    radio: Literal["LTE", "UMTS", "WiFi"] | None = Field(
        default=None,
        description="Radio of the uplink, whose power model gives the energy of sending. Default: the energy "
        "of sending is not counted.",
    )
    execution_providers: (
        Annotated[tuple[ExecutionProvider, ...], Field(min_length=1, max_length=6)] | None
    ) = Field(
        default=None,
        description="Execution providers of ONNX Runtime for the nodes, 1 to 6 in order of preference. "
        "Runtimes and profiling use the first one that the image has, and the CPU if it has none of them, "
        "which the condition Planned of services reports. Groups of one device class must list the same. "
        "Default: CPU.",
    )
    shared_memory: SharedMemory | None = Field(
        default=None,
        description="Memory of the nodes in which clients pass tensors to runtimes without sending them. "
        "Default: none, all tensors are sent.",
    )
    survives_reboot: Annotated[bool, Field(strict=True)] | None = Field(
        default=None,
        description="Whether a systemd unit on each node serves the node ports that services declare "
        "(spec.exposure.httpPort and grpcPort) from the node's disk after a reboot, until Kubernetes starts "
        "the pods. A privileged Job in the operator's namespace installs it; one removes it when this is "
        "false again or the pool is deleted. Default: false.",
    )
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None,
        description="Image of runtimes and profiling Jobs on the nodes, with the onnxruntime package of the "
        "execution providers. Default: runtime.image of the chart.",
    )


class TritonServer(SelectsNodes):
    """A Triton server that runs the tails of models, and the nodes on which its class is profiled.

    A server without nodeSelector and selector, e.g. outside the cluster, is profiled by requests to it.
    """

    name: Label = Field(
        description="Name of the server, unique in the pool and not the name of a node, e.g. cloud. Required."
    )
    http_address: Annotated[str, Field(max_length=260), _ADDRESS, AfterValidator(_whole_address)] = Field(
        description="Address of Triton's HTTP endpoint as host:port, with IPv6 addresses in brackets. "
        "Triton must run with --model-control-mode=explicit. Required."
    )
    grpc_address: Annotated[str, Field(max_length=260), _ADDRESS, AfterValidator(_whole_address)] | None = (
        Field(
            default=None,
            description="Address of Triton's gRPC endpoint as host:port, at which the operator checks that "
            "model control requires a key. It is reached by TLS with scheme HTTPS. Default: none, the "
            "endpoint is not checked.",
        )
    )
    scheme: Literal["HTTP", "HTTPS"] = Field(
        default="HTTP",
        description="Protocol of httpAddress. HTTPS requires a proxy that terminates TLS in front of "
        "Triton. The operator and the runtimes present the certificates of operator.tlsSecret and "
        "runtime.tlsSecret of the chart; the certificate of the proxy must name the host of httpAddress and "
        "be signed by their ca.crt. Default: HTTP.",
    )
    device_class: DeviceClass = Field(
        description="Device class of the server, for which models are profiled: on a node that nodeSelector "
        "or selector selects, or by requests to the server if it has neither. Required."
    )
    backend: Literal["onnxruntime", "python"] = Field(
        default="onnxruntime",
        description="Triton backend that runs the slices. onnxruntime: Triton's ONNX Runtime backend. "
        "python: the Python backend with the onnxruntime package. Default: onnxruntime.",
    )
    memory: PositiveQuantity | None = Field(
        default=None,
        description="Memory of the server for tails in bytes, above 0, e.g. 8Gi. Each tail counts with the "
        "size of its slice and 64Mi with backend python or 16Mi with backend onnxruntime; a tail that does "
        "not fit is not loaded. Default: no limit.",
    )
    control_secret: SecretName | None = Field(
        default=None,
        description="Name of a Secret in the operator's namespace with the key that the server requires for "
        "model control, under key, and the header it expects the key in, under header (default: "
        "edge-model-control). operator.tritonControlSecrets of the chart must list it. Default: none, the "
        "server must accept model control without a key.",
    )

    @property
    def url(self) -> str:
        """The URL of its HTTP endpoint."""
        return f"{self.scheme.lower()}://{self.http_address}"

    @property
    def grpc_url(self) -> str | None:
        """The address of its gRPC endpoint as grpc(s)://host:port; None if it is not known."""
        if self.grpc_address is None:
            return None
        return f"{'grpcs' if self.scheme == 'HTTPS' else 'grpc'}://{self.grpc_address}"


class LocalLinks(Part):
    """Links between nodes of the pool until they are measured."""

    bandwidth: PositiveQuantity = Field(
        default=Quantity(1_000_000_000), description="Bandwidth in bit/s, above 0. Default: 1G."
    )
    round_trip: PositiveDuration = Field(
        default=Duration(0.001), description="Round-trip time, a duration above 0. Default: 1ms."
    )


class Links(Part):
    """How links are measured, and what links between nodes are assumed to be until they are."""

    probe_interval: PositiveDuration = Field(
        default=Duration(2.0),
        description="Time between two bandwidth probes of an idle link, a duration above 0. Links in use "
        "are measured by their own traffic. Default: 2s.",
    )
    probe_budget: Quantity = Field(
        default=Quantity(16 << 20),
        description="Maximum traffic of probes in bytes per hour, for each link of an entry node, e.g. 1Mi "
        "for a metered link. When it runs low, probes become smaller, then less frequent, down to 512 bytes "
        "every 30s. Default: 16Mi.",
    )
    local: LocalLinks = Field(
        default=LocalLinks(),
        description="Links from nodes of tier Device to nodes of tier Edge until they are measured, which "
        "needs runtimes of the namespace at both ends. A new value here starts over. Default: bandwidth 1G, "
        "roundTrip 1ms.",
    )


_PRICE = between(0, 1_000_000_000, "is not a price: write a number from 0 to 1000000000, e.g. 0.08")
Price = Annotated[float, Field(strict=True), _PRICE]


class Prices(Part):
    """What a request costs, by which services with optimize Cost are planned, in any one currency."""

    triton_second: Price = Field(
        default=0,
        description="Price of a second of compute time at a Triton server, from 0 to 1000000000, in any "
        "currency. Default: 0.",
    )
    uplink_gigabyte: Price = Field(
        default=0,
        description="Price of 10^9 bytes sent from entry nodes to a Triton server, from 0 to 1000000000, in "
        "the same currency. Responses are not counted. Default: 0.",
    )
    joule: Price = Field(
        default=0,
        description="Price of a joule of an entry node, from 0 to 1000000000, in the same currency; a kWh is "
        "3600000 joules. Counts only at nodes whose group declares watts or radio. Default: 0.",
    )


class DevicePoolSpec(Part):
    """Nodes, Triton servers and the links between them."""

    nodes: Annotated[
        tuple[Annotated[NodeGroup, SELECTS_SOMETHING], ...], Field(min_length=1, max_length=32)
    ] = Field(
        description="Groups of nodes, 1 to 32. A node that several groups select belongs to the first of "
        "them, and one that several pools select to the oldest pool. Required."
    )
    triton_servers: Annotated[
        tuple[Annotated[TritonServer, SELECTS_SOMETHING_IF_GIVEN], ...],
        Field(max_length=16),
        one_of_each("name", "tritonServers"),
        KeyedBy("name"),
    ] = Field(
        default=(),
        description="Triton servers, at most 16. The plan chooses one for each entry node of a service. "
        "Default: none, all routes are local.",
    )
    links: Links = Field(
        default=Links(),
        description="How links are measured, and the values of links between nodes until then. Default: a "
        "probeBudget of 16Mi.",
    )
    prices: Prices = Field(
        default=Prices(),
        description="What a request costs, by which services with optimize Cost are planned. Default: "
        "nothing has a price.",
    )


_JOULE_FIX = (
    "has no effect, because no group in nodes declares its power: set watts or radio of a group, or remove it"
)


def _check_joule(spec: DevicePoolSpec) -> str | None:
    declared = any(group.watts is not None or group.radio is not None for group in spec.nodes)
    return None if declared or not spec.prices.joule else f"prices.joule: {spec.prices.joule:g} {_JOULE_FIX}"


_JOULE = Rule(
    cel="!has(self.prices) || !has(self.prices.joule) || self.prices.joule == 0.0 || "
    "self.nodes.exists(group, has(group.watts) || has(group.radio))",
    message=f"prices.joule {_JOULE_FIX}",
    sentence=formatted(f"prices.joule: %s {_JOULE_FIX}", "self.prices.joule"),
    check=_check_joule,
)


class PoolNode(StatusPart):
    """A node of the pool."""

    name: str = Field(description="Name of the node.")
    device_class: str = Field(description="Device class of the node.")


class KnownTritonServer(StatusPart):
    """A Triton server that may have tails of this installation."""

    address: str = Field(description="URL of its HTTP endpoint.")
    control_secret: str | None = Field(
        default=None, description="The controlSecret of the server in spec. Default: none."
    )


class FormerTritonServer(KnownTritonServer):
    """A Triton server that left the pool and may still have tails of this installation."""

    left: AwareDatetime = Field(description="When the operator noticed that the pool does not list it.")


class DevicePoolStatus(StatusPart):
    """Observed state of a pool."""

    observed_generation: int = Field(
        default=0, description="The metadata.generation that this status describes."
    )
    conditions: Conditions = Field(
        default=(),
        description="Ready, ControlOpen, CertificatesIssued, SurvivesReboot, and InUse while it is being "
        "deleted, with a reason and a message.",
    )
    node_count: int = Field(default=0, description="Number of nodes of the pool.")
    nodes: Annotated[tuple[PoolNode, ...], KeyedBy("name")] = Field(
        default=(), description="The nodes that the groups select and that belong to no older pool."
    )
    triton_servers: Annotated[tuple[KnownTritonServer, ...], KeyedBy("address")] = Field(
        default=(), description="The Triton servers in spec, which may have tails."
    )
    former_triton_servers: Annotated[tuple[FormerTritonServer, ...], KeyedBy("address")] = Field(
        default=(),
        description="Triton servers that left spec, until their tails are unloaded, at most 7 days.",
    )


class DevicePool(KubernetesObject):
    """A pool of nodes by device class and of Triton servers, with the links between them."""

    resource: ClassVar[Resource] = Resource(
        plural="devicepools",
        short_names=("dp",),
        namespaced=False,
        columns=(
            condition_column(
                "Ready", "Ready", "status", "Whether every selector selects a node of this pool alone."
            ),
            Column("Nodes", ".status.nodeCount", "Number of nodes of the pool.", "integer"),
            Column("Triton", ".spec.tritonServers[0].httpAddress", "Address of the first Triton server."),
            condition_column("Reason", "Ready", "reason", "Reason of the Ready condition."),
            condition_column(
                "In Use", "InUse", "status", "True while it is being deleted and services still use it."
            ),
            AGE,
        ),
    )

    kind: Literal["DevicePool"] = "DevicePool"
    spec: Annotated[DevicePoolSpec, _JOULE] = Field(
        description="The nodes and Triton servers that services can use, by device class, and what is known "
        "of the links between them. A change plans every service of the pool again."
    )
    status: DevicePoolStatus | None = Field(
        default=None,
        description="Whether every selector selects a node, whether older pools have some of the nodes, and "
        "which ones the pool has. Written by the operator alone.",
    )
