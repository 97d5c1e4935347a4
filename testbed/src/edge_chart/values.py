"""The values of the chart: the only source of values.yaml, values.schema.json and the table in its README."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from edge_chart.admission import Admission
from edge_chart.monitoring import Monitoring
from edge_chart.parts import (
    ClassName,
    GivenSecretName,
    Image,
    KubernetesObject,
    NotEmpty,
    Placed,
    Resources,
    SecretName,
    Values,
)

Milliseconds = Annotated[int, Field(ge=0, le=2147483647)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?([KMGTPE]i?)?$")]
Positive = Annotated[int, Field(ge=1, le=2147483647)]
Small = Annotated[int, Field(ge=0, le=1000)]


class Global(Values):
    """Values that parent charts pass to all of their subcharts, which can have more of them."""

    model_config = ConfigDict(extra="allow")

    image_registry: Annotated[str, Field(pattern=r"^[^/ ]*(/[^ ]*[^/ ])?$")] = Field(
        default="",
        description="Host, and prefix, of the registry of all images, e.g. registry.example.com or "
        "registry.example.com/mirror. Empty: images are named without a host, and the container runtime "
        "finds them among those imported into the node, then in its default registry.",
    )


class CustomResourceDefinitions(Values):
    """The CustomResourceDefinitions."""

    enabled: bool = Field(
        default=True,
        description="Install and upgrade them with the release, and adopt those that no release owns. They, "
        "and all objects of theirs, stay when the release is uninstalled, or its installation fails. If "
        "false, apply the folder crds/ of the repository before each upgrade.",
    )


class Tls(Values):
    """TLS between operator, model store and runtimes. See docs/tls.md."""

    mode: Literal["Auto", "Secrets", "Disabled"] = Field(
        default="Auto",
        description="""
Auto: the operator makes an authority, issues certificates and renews them. Nodes send hops, forwarded
requests and probes to each other with mutual TLS, and the store serves TLS. The ports for clients of services
stay plain.
Secrets: you provide the certificates, for example by cert-manager, in the Secrets that operator.tlsSecret,
runtime.tlsSecret and store.tlsSecret name. With runtime.tlsSecret, the ports for clients have TLS, too.
Disabled: no TLS.""",
    )


class Operator(Placed):
    """The operator, which plans and places services."""

    image: Image = Field(default=Image(repository="edge-intelligence/operator"), description="Its image.")
    replicas: Annotated[int, Field(ge=0, le=5)] = Field(
        default=2,
        description="One replica writes, elected by a Lease. The others have all objects in memory and take "
        "over within 2 s when it ends, or 15 s after it was killed. With 1, a pod that is rescheduled starts "
        "first.",
    )
    spread: Literal["Preferred", "Required", "Disabled"] = Field(
        default="Preferred",
        description="Whether replicas are placed on different nodes. Preferred: if there is more than one "
        "server, as servers are preferred to other nodes. Required: a replica for which there is no other "
        "node stays Pending.",
    )
    watch_namespace: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")] = Field(
        default="", description="The only namespace to watch. Empty: all namespaces."
    )
    log_format: Literal["plain", "json"] = Field(default="plain", description="Format of its log.")
    tls_secret: SecretName = Field(
        default="",
        description="Name of a Secret with tls.crt, tls.key and ca.crt in the release's namespace, with "
        "which the operator connects to Triton servers with scheme HTTPS and to a store with tlsSecret. "
        "Requires runtime.tlsSecret and tls.mode Secrets.",
    )
    triton_control_secrets: list[GivenSecretName] = Field(
        default=[],
        description="Names of the Secrets in the release's namespace that DevicePools name as controlSecret "
        "of a Triton server. The operator can read no others. See docs/triton.md.",
        json_schema_extra={"uniqueItems": True},
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "512Mi"}),
        description="Of its container.",
    )


class Console(Placed):
    """The web page. See docs/console.md."""

    enabled: bool = Field(default=True, description="If false, nothing of it is installed.")
    node_selector: dict[str, str] = Field(
        default={}, description="Labels of the nodes that may run it. Empty: those of the operator."
    )
    tls_secret: SecretName = Field(
        default="",
        description="Name of a Secret with tls.crt and tls.key in the release's namespace, with which the "
        "page is served by HTTPS. Empty: HTTP, for `kubectl port-forward`. Set it, or use an ingress with "
        "TLS, before others reach the Service: viewers send their tokens.",
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "20m", "memory": "160Mi"}, limits={"memory": "512Mi"}),
        description="Of its container.",
    )


class Grpc(Values):
    """Flags of the runtimes for gRPC connections. See docs/runtime.md, "gRPC keepalive"."""

    model_config = ConfigDict(
        extra="forbid", alias_generator=lambda name: name.replace("_", "-"), populate_by_name=True
    )

    grpc_keepalive_time: Annotated[int, Field(ge=1000, le=2147483647)] | None = Field(
        default=None, description="Milliseconds between two pings of an idle connection."
    )
    grpc_keepalive_timeout: Positive | None = Field(
        default=None, description="Milliseconds until a ping without a response closes the connection."
    )
    grpc_keepalive_permit_without_calls: Annotated[int, Field(ge=0, le=1)] | None = Field(
        default=None, description="1: also ping connections without calls."
    )
    grpc_http2_max_pings_without_data: Small | None = Field(
        default=None, description="Pings that are sent between two messages. 0: no limit."
    )
    grpc_http2_min_recv_ping_interval_without_data: Milliseconds | None = Field(
        default=None, description="Milliseconds that clients must leave between two pings."
    )
    grpc_http2_max_ping_strikes: Small | None = Field(
        default=None, description="Pings too many that a client may send until its connection is closed."
    )


class Runtime(Values):
    """The pods at entry nodes. Their image is that of the model store and of the profiling Jobs, too."""

    image: Image = Field(default=Image(repository="edge-intelligence/runtime"), description="Its image.")
    resources: Resources = Field(
        default=Resources(requests={"cpu": "50m", "memory": "192Mi"}),
        description="""
Of each pod at an entry node, which serves all services of a namespace there, and of the profiling Jobs. They
include the process in which new slices are tried: it temporarily needs 96 MiB and up to twice the slice (four
times if it is smaller than 4 MiB), but never more than a memory limit leaves. See docs/trials.md.
Avoid CPU limits: they slow inference down compared with the device class's profile.""",
    )
    status_rights: Literal["Auto", "Policy", "Roles", "Namespace"] = Field(
        default="Auto",
        description="""
What limits the reports of a pod at an entry node to the Placements of its own node.
Policy: the pods of a namespace share a ServiceAccount, and a ValidatingAdmissionPolicy compares the node of
their token. Requires Kubernetes 1.30.
Roles: each pod has a ServiceAccount of its own with a Role that names these Placements. The operator may
write Roles.
Auto: Policy if the cluster has Kubernetes 1.30 or later, else Roles.
Namespace: no limit, a pod can report on all Placements of its namespace.""",
    )
    grpc: Grpc = Field(
        default=Grpc(),
        description="Flags of the runtimes for gRPC connections, e.g. {grpc-keepalive-time: 60000}. See "
        'docs/runtime.md, "gRPC keepalive".',
    )
    tls_secret: SecretName = Field(
        default="",
        description="Name of a Secret with tls.crt, tls.key and ca.crt in every service's namespace, as "
        "created by cert-manager. With it, runtimes use TLS on all ports and require client certificates "
        "signed by ca.crt. Requires tls.mode Secrets.",
    )
    priority_class_name: ClassName = Field(
        default="",
        description="PriorityClass of the pods at entry nodes. Empty: the one that priorityClasses.create "
        "makes, if any.",
    )
    kubelet_dir: Annotated[str, Field(pattern=r"^/[^ ]*$")] = Field(
        default="/var/lib/kubelet",
        description="Root folder of the kubelets (their --root-dir), in which the units of DevicePools with "
        "survivesReboot find the files of runtimes.",
    )


class Tracing(Values):
    """OpenTelemetry spans of the runtimes. See docs/tracing.md."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://[^ ]+)?$")] = Field(
        default="",
        description="OTLP/HTTP endpoint of a collector, e.g. http://collector.monitoring:4318. Empty: no "
        "spans.",
    )
    ratio: (
        Annotated[float, Field(ge=0, le=1)] | Annotated[str, Field(pattern=r"^(0(\.[0-9]+)?|1(\.0+)?)$")]
    ) = Field(
        default=1.0,
        description="Share of requests to trace if the caller has made no sampling decision, from 0 to 1.",
    )


class SharedFolder(Values):
    """A folder of files that every author of an InferenceService may name."""

    path: Annotated[str, Field(pattern=r"^/[^,:]+$")] = Field(description="Where it is mounted.")
    volume: Annotated[KubernetesObject, Field(min_length=1, max_length=1)] = Field(
        description="The volume, without a name, e.g. {nfs: {server: nas, path: /models}}."
    )


class Fetching(Values):
    """Jobs that fetch models with a Secret or from a volume."""

    enabled: bool = Field(
        default=True,
        description="Whether the operator may run Jobs in the namespaces of services, which fetch models "
        "with a Secret or from a volume. If false, services with spec.model.secretName or a pvc:// address "
        "are refused, and the operator cannot create Jobs there.",
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "2Gi"}),
        description="Of their container.",
    )
    node_selector: dict[str, str] = Field(
        default={},
        description="Nodes on which these Jobs run, except for those that mount a volume. Empty: any node, "
        "also entry nodes.",
    )


class Persistence(Values):
    """The volume of the model store."""

    enabled: Literal["Auto"] | bool = Field(
        default="Auto",
        description="""
Auto: true if the cluster has a default StorageClass, or the store has a claim already, as helm finds it at an
installation or upgrade. `helm template` finds nothing: set true or false for it.
If false, the store uses an emptyDir: upload models again after its pod has moved.""",
    )
    existing_claim: str = Field(
        default="", description="Name of an existing claim, which implies true. Empty: the chart creates one."
    )
    storage_class: str = Field(default="", description="Storage class. Empty: the cluster's default.")
    size: Quantity = Field(default="10Gi", description="Requested size.")


class Store(Placed):
    """The model store keeps model files, their slices and measurements."""

    tokens: bool = Field(
        default=True,
        description="Require ServiceAccount tokens with audience edge-model-store. Each namespace then sees "
        "only the models that it uploaded and registered. If false, all clients that reach the store read "
        "and replace all models. See docs/model-store.md.",
    )
    tls_secret: SecretName = Field(
        default="",
        description="Name of a Secret with tls.crt, tls.key and ca.crt in the release's namespace. With it, "
        "the store uses TLS and requires client certificates signed by ca.crt. Requires tls.mode Secrets, "
        "operator.tlsSecret and runtime.tlsSecret.",
    )
    shared_folders: list[SharedFolder] = Field(
        default=[],
        description="Folders whose files every author of an InferenceService may name as file://<path>/…, "
        "each with the volume that is mounted there, read-only: [{path: /models, volume: {nfs: {server: "
        "nas, path: /models}}}]. Empty: file:// is refused.",
    )
    allow_internal: list[NotEmpty] = Field(
        default=[],
        description="Hosts and networks (CIDR) with internal addresses that models may come from, such as "
        "10.1.0.0/16 or minio.storage.svc. Other loopback, link-local, private and reserved addresses are "
        "refused.",
    )
    plain_http_registries: list[NotEmpty] = Field(
        default=[],
        description="Registries of oci:// addresses that are called without TLS, as host or host:port.",
    )
    fetching: Fetching = Field(default=Fetching(), description=Fetching.__doc__)
    resources: Resources = Field(
        default=Resources(requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "1Gi"}),
        description="Of its container.",
    )
    persistence: Persistence = Field(default=Persistence(), description=Persistence.__doc__)


class NodeCache(Values):
    """A cache of slices on nodes, which outlives pods. See docs/node-cache.md."""

    enabled: bool = Field(
        default=False,
        description="Run an agent on nodes that keeps the slices that their runtimes fetch in a folder of "
        "the node, so that a new pod reads them from the disk instead of over the link. The agent mounts the "
        "folder by hostPath, which the Pod Security standard of the release's namespace must admit: only "
        "privileged does.",
    )
    path: Annotated[str, Field(pattern=r"^/[^ :]+$")] = Field(
        default="/var/lib/edge-intelligence/cache",
        description="The folder on each node, which is made if it does not exist. Only the agent mounts it.",
    )
    size: Quantity = Field(
        default="20Gi", description="Bytes of all slices. The least recently used are removed."
    )
    keep_free: Quantity = Field(
        default="1Gi",
        description="Bytes of the node's disk that the cache leaves free. Kubelets evict pods if less than a "
        "tenth of it is free, unless they are configured otherwise.",
    )
    tls_secret: SecretName = Field(
        default="",
        description="Name of a Secret with tls.crt, tls.key and ca.crt in the release's namespace, for the "
        "name edge-node-cache.<namespace>.svc.<clusterDomain>. Required with store.tlsSecret. Requires "
        "tls.mode Secrets and runtime.tlsSecret.",
    )
    node_selector: dict[str, str] = Field(
        default={},
        description="Labels of the nodes that run an agent, e.g. {edge-intelligence.io/tier: edge}. "
        "Runtimes on other nodes fetch from the model store. Empty: all nodes.",
    )
    tolerations: list[KubernetesObject] = Field(
        default=[], description="Taints of nodes that run an agent nevertheless: those of the node groups."
    )
    priority_class_name: ClassName = Field(
        default="",
        description="PriorityClass of the agents. Empty: none, so that runtimes are evicted later.",
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "10m", "memory": "64Mi"}, limits={"memory": "256Mi"}),
        description="Of the agent's containers.",
    )


class Triton(Placed):
    """A Triton server in the release's namespace, with the settings that the operator requires."""

    enabled: bool = Field(
        default=False,
        description="Run it. Name it in a DevicePool: address triton.<namespace of the release>:8000, "
        "controlSecret triton-control. See docs/triton.md.",
    )
    image: Image = Field(
        default=Image(registry="nvcr.io", repository="nvidia/tritonserver", tag="25.06-py3"),
        description="Its image.",
    )
    gpus: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0, description="GPUs of the resource nvidia.com/gpu. 0: it computes on processors."
    )
    runtime_class_name: ClassName = Field(
        default="", description="RuntimeClass of its pod, e.g. nvidia on K3s. Empty: the default."
    )
    args: list[NotEmpty] = Field(default=[], description="More flags of tritonserver.")
    resources: Resources = Field(
        default=Resources(requests={"cpu": "500m", "memory": "1Gi"}), description="Of its container."
    )
    shared_memory: Quantity = Field(
        default="1Gi",
        description="Size of /dev/shm, by which backends in processes of their own take tensors.",
    )


class NetworkPolicies(Values):
    """NetworkPolicies for the pods of this chart and of the operator. A network plugin must enforce them."""

    enabled: bool = Field(
        default=True,
        description="Deny connections to these pods that the product does not need. Pods of others, and "
        "connections from these pods, are not limited. The operator makes the policies of runtimes in the "
        "namespaces of services.",
    )
    clients: list[KubernetesObject] = Field(
        default=[],
        description="Who may call services at entry nodes, as NetworkPolicy peers, e.g. "
        "[{namespaceSelector: {matchLabels: {team: shop}}}, {ipBlock: {cidr: 10.20.0.0/16}}]. Empty: "
        "everyone, also outside the cluster.",
    )
    uploads: list[KubernetesObject] = Field(
        default=[],
        description="Who else may call the model store, as NetworkPolicy peers: pods that upload models. "
        "`kubectl port-forward` is not limited. Empty: only the operator, runtimes, and Jobs of the "
        "operator.",
    )
    metrics: list[KubernetesObject] = Field(
        default=[{"namespaceSelector": {}}],
        description="Who may read metrics of the operator and of the model store, as NetworkPolicy peers. "
        "Default: all pods of the cluster.",
    )


class DisruptionBudgets(Values):
    """PodDisruptionBudgets."""

    enabled: bool = Field(
        default=True,
        description="Let a drain of nodes evict one replica of the operator at a time, with "
        "operator.replicas above 1. The store has one pod, and those at entry nodes cannot move: a budget "
        "would only block drains.",
    )


class PriorityClasses(Values):
    """PriorityClasses, which tell the kubelet what to evict last from a node that runs out of memory."""

    create: bool = Field(
        default=True,
        description="Make <namespace>-edge-system for the operator and the model store, and "
        "<namespace>-edge-runtime for the pods at entry nodes, which preempts no other pods. Both stay when "
        "the release is uninstalled, since running pods name them.",
    )


class ChartValues(Values):
    """All settings of an installation."""

    global_: Global = Field(default=Global(), alias="global", description=Global.__doc__)
    crds: CustomResourceDefinitions = Field(
        default=CustomResourceDefinitions(), description=CustomResourceDefinitions.__doc__
    )
    tls: Tls = Field(default=Tls(), description=Tls.__doc__)
    operator: Operator = Field(default=Operator(), description=Operator.__doc__)
    console: Console = Field(default=Console(), description=Console.__doc__)
    admission: Admission = Field(default=Admission(), description=Admission.__doc__)
    runtime: Runtime = Field(default=Runtime(), description=Runtime.__doc__)
    tracing: Tracing = Field(default=Tracing(), description=Tracing.__doc__)
    store: Store = Field(default=Store(), description=Store.__doc__)
    node_cache: NodeCache = Field(default=NodeCache(), description=NodeCache.__doc__)
    triton: Triton = Field(default=Triton(), description=Triton.__doc__)
    network_policies: NetworkPolicies = Field(default=NetworkPolicies(), description=NetworkPolicies.__doc__)
    pod_disruption_budgets: DisruptionBudgets = Field(
        default=DisruptionBudgets(), description=DisruptionBudgets.__doc__
    )
    monitoring: Monitoring = Field(default=Monitoring(), description=Monitoring.__doc__)
    priority_classes: PriorityClasses = Field(default=PriorityClasses(), description=PriorityClasses.__doc__)
    image_pull_secrets: list[NotEmpty] = Field(
        default=[],
        description="Names of Secrets in the release's namespace for pulling images; services' namespaces "
        "need them too.",
    )
    cluster_domain: NotEmpty = Field(default="cluster.local", description="DNS domain of the cluster.")
