"""Settings of the operator, from environment variables that the Helm chart sets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from edge_operator.errors import SettingsError

PullPolicy = Literal["Always", "IfNotPresent", "Never"]
StatusRights = Literal["Auto", "Policy", "Roles", "Namespace"]
_FETCHER_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "2Gi"}}
_DEFAULT_RESOURCES = {"requests": {"cpu": "50m", "memory": "192Mi"}}


@dataclass(frozen=True, slots=True)
class Fetching:
    """How Jobs fetch models with a Secret or from a volume.

    Attributes:
        enabled: Whether the operator may run such Jobs in the namespaces of services.
        resources: Of their container.
        allow_internal: Hosts and networks with internal addresses that they may read.
        plain_http: Registries that they call without TLS.
        node_selector: Of the nodes that they run on, except for volumes, which have nodes of their own.
    """

    enabled: bool = True
    resources: Mapping[str, Any] = field(default_factory=lambda: _FETCHER_RESOURCES)
    allow_internal: tuple[str, ...] = ()
    plain_http: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may connect to runtimes, as peers of NetworkPolicies.

    Attributes:
        clients: Callers of services; empty: everyone.
        metrics: Readers of metrics; empty: clients alone.
    """

    clients: tuple[Mapping[str, Any], ...] = ()
    metrics: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the installation, the same for all services."""

    store_url: str
    runtime_image: str
    namespace: str = "edge-intelligence"
    """Namespace of the operator and of the profiling Jobs."""
    runtime_role: str = "edge-intelligence-edge-runtime"
    """Name of the ClusterRole to which the runtimes of each namespace are bound."""
    status_rights: StatusRights = "Auto"
    """What limits the reports of a runtime to its own node: the chart's admission policy, a Role for each
    runtime, or nothing within its namespace. Auto: what the API server can do, read at the start."""
    pull_policy: PullPolicy = "IfNotPresent"
    cluster_domain: str = "cluster.local"
    runtime_resources: Mapping[str, Any] = field(default_factory=lambda: _DEFAULT_RESOURCES)
    pull_secrets: tuple[str, ...] = ()
    store_token: str = ""
    """File with the operator's token for the model store; empty: the store requires no tokens."""
    node_cache_url: str = ""
    """Address of the cache of a node, from which runtimes fetch slices first; empty: nodes have none."""
    tls_secret: str = ""
    """Name of the runtimes' TLS Secret in each service's namespace; empty: no TLS."""
    tls_dir: str = ""
    """Folder with the operator's certificates for TLS with Triton servers and the model store."""
    issues_certificates: bool = False
    """Whether an authority of the operator issues the certificates with which parts reach each other."""
    own_secret: str = ""
    """Name of the Secret with these certificates, which the profiling Jobs also mount."""
    tracing_endpoint: str = ""
    """Endpoint to which the runtimes send spans; empty: tracing is off."""
    tracing_ratio: float = 1.0
    pod_ip: str = ""
    """The pod's IP address, which the kubelet probes; its family selects the listen address."""
    fetching: Fetching = field(default_factory=Fetching)
    grpc_flags: Mapping[str, int] = field(default_factory=dict)
    """The runtimes' flags for gRPC connections, by name without leading dashes."""
    network_policies: Allowed | None = None
    """Who may connect to runtimes; None: the operator makes no NetworkPolicies."""
    priority_class: str = ""
    """Name of the PriorityClass of the runtimes' pods; empty: none."""
    admission_webhook: str = ""
    """Name of the ValidatingWebhookConfiguration of the admission webhook; empty: it is not installed."""
    admission_secret: str = ""
    """Name of a given Secret with its certificate; empty: the operator issues one if it issues any."""
    traffic_distribution: str = ""
    """The trafficDistribution of clients' Services that the API server supports; read at the start."""
    kubelet_dir: str = "/var/lib/kubelet"
    """Root folder of the kubelets, in which units of nodes find the files of runtimes."""
    installation: str = ""
    """Identity of the installation, which marks its models in Triton; read from the cluster at the start."""

    @property
    def listen(self) -> str:
        """The wildcard address of the pod's IP family."""
        return "::" if ":" in self.pod_ip else "0.0.0.0"  # noqa: S104 - a pod of its own

    @property
    def own_accounts(self) -> bool:
        """Whether each runtime has a ServiceAccount of its own, so that a Role can limit it."""
        return self.status_rights == "Roles"

    @property
    def runtime_scheme(self) -> str:
        """The URL scheme of the runtimes."""
        return "https" if self.tls_secret else "http"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reads the EDGE_* variables. Raises SettingsError with the variable's name and a valid value."""
        policy = _one_of(
            environment, "EDGE_RUNTIME_PULL_POLICY", get_args(PullPolicy), "IfNotPresent", "a pull policy"
        )
        rights = _one_of(
            environment, "EDGE_STATUS_RIGHTS", get_args(StatusRights), "Auto", "a kind of rights"
        )
        namespace = environment.get("EDGE_OPERATOR_NAMESPACE") or "edge-intelligence"
        return cls(
            store_url=_url(environment, "EDGE_STORE"),
            runtime_image=_required(environment, "EDGE_RUNTIME_IMAGE", "the image of the edge runtime"),
            namespace=namespace,
            runtime_role=environment.get("EDGE_RUNTIME_ROLE") or f"{namespace}-edge-runtime",
            status_rights=cast("StatusRights", rights),
            pull_policy=cast("PullPolicy", policy),
            cluster_domain=environment.get("EDGE_CLUSTER_DOMAIN") or "cluster.local",
            runtime_resources=_resources(environment),
            pull_secrets=tuple(name for name in environment.get("EDGE_PULL_SECRETS", "").split(",") if name),
            store_token=environment.get("EDGE_STORE_TOKEN_FILE", ""),
            node_cache_url=_node_cache(environment),
            tls_secret=environment.get("EDGE_RUNTIME_TLS_SECRET", ""),
            tls_dir=environment.get("EDGE_TLS_DIR", ""),
            issues_certificates=_issues(environment),
            own_secret=environment.get("EDGE_TLS_SECRET", ""),
            tracing_endpoint=_tracing_endpoint(environment),
            tracing_ratio=_ratio(environment, "EDGE_TRACING_RATIO"),
            pod_ip=environment.get("EDGE_POD_IP", ""),
            fetching=_fetching(environment),
            grpc_flags=_grpc_flags(environment),
            network_policies=_network_policies(environment),
            kubelet_dir=_kubelet_dir(environment),
            priority_class=environment.get("EDGE_RUNTIME_PRIORITY_CLASS", ""),
            admission_webhook=environment.get("EDGE_ADMISSION_WEBHOOK", ""),
            admission_secret=environment.get("EDGE_ADMISSION_TLS_SECRET", ""),
        )


def _required(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name}: not set: set it to {what}")
    return value


def _one_of(
    environment: Mapping[str, str], name: str, values: tuple[str, ...], default: str, what: str
) -> str:
    value = environment.get(name) or default
    if value not in values:
        raise SettingsError(f'{name}: "{value}" is not {what}: use one of {", ".join(values)}')
    return value


def _issues(environment: Mapping[str, str]) -> bool:
    mode = environment.get("EDGE_TLS_MODE") or "Disabled"
    if mode not in ("Auto", "Secrets", "Disabled"):
        raise SettingsError(f'EDGE_TLS_MODE: "{mode}" is not a mode: use one of Auto, Secrets, Disabled')
    if mode == "Auto" and (secret := environment.get("EDGE_RUNTIME_TLS_SECRET")):
        raise SettingsError(
            f'EDGE_RUNTIME_TLS_SECRET: "{secret}" cannot be used with EDGE_TLS_MODE Auto: use Secrets'
        )
    if mode == "Auto" and not environment.get("EDGE_TLS_DIR"):
        raise SettingsError("EDGE_TLS_DIR: not set: with EDGE_TLS_MODE Auto, set it to a writable folder")
    return mode == "Auto"


def _kubelet_dir(environment: Mapping[str, str]) -> str:
    value = environment.get("EDGE_KUBELET_DIR") or "/var/lib/kubelet"
    if not value.startswith("/") or ".." in value.split("/"):
        raise SettingsError(
            f'EDGE_KUBELET_DIR: "{value}" is not an absolute path: use the --root-dir of the kubelets, e.g. '
            "/var/lib/kubelet"
        )
    return value


def _node_cache(environment: Mapping[str, str]) -> str:
    value = environment.get("EDGE_NODE_CACHE", "")
    if value and not value.startswith(("http://", "https://")):
        raise SettingsError(
            f'EDGE_NODE_CACHE: "{value}" is not a URL: use the address of the caches of nodes, e.g. '
            "http://edge-node-cache:8080, or leave it empty"
        )
    return value.rstrip("/")


def _tracing_endpoint(environment: Mapping[str, str]) -> str:
    value = environment.get("EDGE_TRACING_ENDPOINT", "")
    if value and not value.startswith(("http://", "https://")):
        raise SettingsError(
            f'EDGE_TRACING_ENDPOINT: "{value}" is not a URL: use the OTLP/HTTP address of a collector, e.g. '
            "http://collector:4318"
        )
    return value


def _ratio(environment: Mapping[str, str], name: str) -> float:
    value = environment.get(name) or "1"
    try:
        ratio = float(value)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise SettingsError(f'{name}: "{value}" is not a number from 0 to 1: use e.g. 0.1')
    return ratio


def _url(environment: Mapping[str, str], name: str) -> str:
    value = _required(environment, name, "the address of the model store, e.g. http://model-store:8080")
    if not value.startswith(("http://", "https://")):
        raise SettingsError(f'{name}: "{value}" is not a URL: start it with http:// or https://')
    return value.rstrip("/")


def _resources(environment: Mapping[str, str]) -> Mapping[str, Any]:
    example = '{"requests": {"cpu": "50m"}}'
    return _object(environment, "EDGE_RUNTIME_RESOURCES", example) or _DEFAULT_RESOURCES


def _fetching(environment: Mapping[str, str]) -> Fetching:
    name = "EDGE_FETCHING"
    found = _object(environment, name, '{"enabled": true, "allowInternal": ["10.1.0.0/16"]}')
    lists = {key: found.get(key) or [] for key in ("allowInternal", "plainHttp")}
    for key, value in lists.items():
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise SettingsError(f'{name}: "{key}": {json.dumps(value)} is not a list of names: use ["…"]')
    return Fetching(
        enabled=bool(found.get("enabled", True)),
        resources=found.get("resources") or _FETCHER_RESOURCES,
        allow_internal=tuple(lists["allowInternal"]),
        plain_http=tuple(lists["plainHttp"]),
        node_selector=found.get("nodeSelector") or {},
    )


def _network_policies(environment: Mapping[str, str]) -> Allowed | None:
    name = "EDGE_NETWORK_POLICIES"
    if not environment.get(name):
        return None
    found = _object(environment, name, '{"clients": [], "metrics": []}')
    lists = {key: found.get(key) or [] for key in ("clients", "metrics")}
    for key, value in lists.items():
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise SettingsError(
                f'{name}: "{key}": {json.dumps(value)} is not a list of peers: use e.g. '
                '[{"namespaceSelector": {}}]'
            )
    return Allowed(tuple(lists["clients"]), tuple(lists["metrics"]))


def _grpc_flags(environment: Mapping[str, str]) -> Mapping[str, int]:
    name, example = "EDGE_RUNTIME_GRPC", '{"grpc-keepalive-time": 60000}'
    flags = _object(environment, name, example)
    for flag, value in flags.items():
        if not flag.startswith("grpc-") or not isinstance(value, int) or isinstance(value, bool):
            raise SettingsError(
                f'{name}: "{flag}": {json.dumps(value)} is not a gRPC flag with a number: use e.g. {example}'
            )
    return flags


def _object(environment: Mapping[str, str], name: str, example: str) -> Mapping[str, Any]:
    """Returns a JSON object; empty if the variable is empty."""
    text = environment.get(name, "")
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{name}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{name}: not a JSON object: use e.g. {example}")
    return found
