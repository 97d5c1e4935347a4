"""Builds the Kubernetes objects of a service: Deployment, Services, RBAC and the profiling Job. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from edge_api.store_access import AUDIENCE
from edge_operator.cluster import Object
from edge_operator.names import (
    API_VERSION,
    DEVICE_CLASS_LABEL,
    GROUP,
    HOSTNAME_LABEL,
    MANAGED_BY,
    MODEL_LABEL,
    NODE_LABEL,
    ROLE_LABEL,
    SELECTION_LABEL,
    SERVICE_LABEL,
    entry_name,
    entry_service_name,
    label_value,
    profile_job_name,
)
from edge_operator.settings import Settings

HTTP_PORT = 8080
GRPC_PORT = 8081
_USER = 65532
_HEALTH_PORT = 8082
_CACHE = "/var/cache/edge"
_TLS = "/etc/edge/tls"
_STORE_TOKEN = "/var/run/secrets/edge-model-store"  # noqa: S105 - a folder
_PROFILER_ACCOUNT = "edge-profiler"
# An entry node that the control plane cannot reach keeps serving; its pod must not be evicted.
_TOLERATIONS = [
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
]


def labels(service: str, node: str | None = None) -> dict[str, str]:
    """Returns the labels of the objects of a service, or of one of its entry nodes."""
    place = {NODE_LABEL: label_value(node)} if node else {}
    return {SERVICE_LABEL: label_value(service)} | place | MANAGED_BY


def owner(service: Object) -> Object:
    """Returns the owner reference by which Kubernetes deletes the objects of a deleted service."""
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceService",
        "name": service["metadata"]["name"],
        "uid": service["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(service: Object, name: str, node: str | None = None) -> Object:
    """Returns the metadata of an object that belongs to a service."""
    return {
        "name": name,
        "namespace": service["metadata"]["namespace"],
        "labels": labels(service["metadata"]["name"], node),
        "ownerReferences": [owner(service)],
    }


def runtime_access(service: Object) -> list[Object]:
    """Returns the ServiceAccount, Role and RoleBinding for runtimes to read their Placement and report."""
    name = runtime_account(service)
    meta = metadata(service, name)
    rules = [
        {"apiGroups": [GROUP], "resources": ["placements"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [GROUP], "resources": ["placements/status"], "verbs": ["patch"]},
    ]
    subject = {"kind": "ServiceAccount", "name": name, "namespace": meta["namespace"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [subject],
        },
    ]


def runtime_account(service: Object) -> str:
    """Returns the name of the runtimes' ServiceAccount, Role and RoleBinding."""
    return f"{service['metadata']['name']}-runtime"


def service_objects(service: Object, settings: Settings) -> list[Object]:
    """Returns the Service for clients on entry nodes, which routes to the runtime of the client's node."""
    local = {"internalTrafficPolicy": "Local"}
    return [_network_service(service, service["metadata"]["name"], None, local, settings)]


def entry_objects(
    service: Object, node: str, hostname: str, settings: Settings, tolerations: Sequence[Object] = ()
) -> list[Object]:
    """Returns the runtime's Deployment at one entry node, and the Service of exactly that node.

    tolerations: those of the node's group, beside the runtime's own.
    """
    name = service["metadata"]["name"]
    return [
        _network_service(service, entry_service_name(name, node), node, {}, settings),
        _deployment(service, node, hostname, settings, tolerations),
    ]


def profile_job(
    device_class: str,
    selection: str,
    digest: str,
    node: str,
    hostname: str,
    settings: Settings,
    *,
    annotations: Mapping[str, str],
    tolerations: Sequence[Object] = (),
) -> Object:
    """Returns the Job that measures a model on a device class; in the operator's namespace, for all services.

    selection: of the nodes of the class in their pool.
    annotations: of the attempt. tolerations: those of the node's group.
    """
    name = profile_job_name(device_class, selection, digest)
    job_labels = {
        DEVICE_CLASS_LABEL: label_value(device_class),
        SELECTION_LABEL: selection,
        MODEL_LABEL: digest.removeprefix("sha256:")[:12],
        NODE_LABEL: label_value(node),
        ROLE_LABEL: "profiler",
        **MANAGED_BY,
    }
    arguments = ["profile-device", "--model", digest, "--device-class", device_class]
    arguments += ["--selection", selection, "--node", node, "--store", settings.store_url]
    container = _container("profiler", arguments, settings)
    # The pod's status then has the error that the measurement ended with.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    pod = _pod(container, hostname, settings) | ({"tolerations": list(tolerations)} if tolerations else {})
    if settings.own_secret and settings.store_url.startswith("https://"):
        container["args"] += ["--tls-dir", _TLS]
        _mount(container, pod, settings.own_secret)
    if settings.store_token:
        _show_token(container, pod)
        pod["serviceAccountName"] = _PROFILER_ACCOUNT
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": settings.namespace,
            "labels": job_labels,
            "annotations": dict(annotations),
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 900,
            # A Job that failed is the record of its attempt: it outlives the longest delay of the next.
            "ttlSecondsAfterFinished": 7200,
            "template": {
                "metadata": {"labels": job_labels},
                "spec": pod | {"restartPolicy": "Never", "automountServiceAccountToken": False},
            },
        },
    }


def _deployment(
    service: Object, node: str, hostname: str, settings: Settings, tolerations: Sequence[Object]
) -> Object:
    meta = metadata(service, entry_name(service["metadata"]["name"], node), node)
    container = _container(
        "runtime",
        [
            *(
                "run",
                "--service",
                service["metadata"]["name"],
                "--namespace",
                meta["namespace"],
                "--node",
                node,
            ),
            *("--store", settings.store_url, "--cache-dir", _CACHE),
            *("--http-port", str(HTTP_PORT), "--grpc-port", str(GRPC_PORT)),
            *(f"--{flag}={value}" for flag, value in settings.grpc_flags.items()),
        ],
        settings,
    ) | {
        "ports": [{"name": "http", "containerPort": HTTP_PORT}, {"name": "grpc", "containerPort": GRPC_PORT}],
        "readinessProbe": _probe("/v2/health/ready", period=2, failures=3),
        "livenessProbe": _probe("/v2/health/live", period=10, failures=6),
        "startupProbe": _probe("/v2/health/live", period=2, failures=60),
    }
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(HTTP_PORT),
        "prometheus.io/path": "/metrics",
    }
    if settings.tls_secret:
        _guard(container, annotations)
    if settings.tracing_endpoint:
        container["env"] = _tracing(settings, meta["namespace"], node)
    pod = _pod(container, hostname, settings) | {
        "serviceAccountName": runtime_account(service),
        "tolerations": [*_TOLERATIONS, *tolerations],
        "terminationGracePeriodSeconds": 30,
    }
    if settings.tls_secret:
        _mount(container, pod, settings.tls_secret)
    if settings.store_token:
        _show_token(container, pod)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": meta["labels"]},
            # The new pod is ready before the old one is terminated.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": meta["labels"], "annotations": annotations}, "spec": pod},
        },
    }


def _guard(container: Object, annotations: dict[str, str]) -> None:
    """Returns the TLS flags; the kubelet and Prometheus, which have no certificates, use a plaintext port."""
    container["args"] += ["--tls-dir", _TLS, "--health-port", str(_HEALTH_PORT)]
    container["ports"].append({"name": "health", "containerPort": _HEALTH_PORT})
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        container[probe]["httpGet"]["port"] = "health"
    annotations["prometheus.io/port"] = str(_HEALTH_PORT)


def _mount(container: Object, pod: Object, secret: str) -> None:
    """Returns a volume that the pod's group alone can read; the kubelet updates it with the Secret."""
    container["volumeMounts"].append({"name": "tls", "mountPath": _TLS, "readOnly": True})
    pod["volumes"].append({"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}})


def _show_token(container: Object, pod: Object) -> None:
    """Adds a token for the model store, which the kubelet renews in its file."""
    container["args"] += ["--store-token-file", f"{_STORE_TOKEN}/token"]
    container["volumeMounts"].append({"name": "store-token", "mountPath": _STORE_TOKEN, "readOnly": True})
    token = {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}
    projected = {"sources": [{"serviceAccountToken": token}], "defaultMode": 0o440}
    pod["volumes"].append({"name": "store-token", "projected": projected})


def _tracing(settings: Settings, namespace: str, node: str) -> list[Object]:
    """Returns OpenTelemetry's variables; the ratio applies if the caller has made no sampling decision."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": settings.tracing_endpoint,
        "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={namespace},k8s.node.name={node}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(settings.tracing_ratio),
    }
    return [{"name": name, "value": value} for name, value in variables.items()]


def _network_service(
    service: Object, name: str, node: str | None, extra: Mapping[str, Any], settings: Settings
) -> Object:
    meta = metadata(service, name, node)
    http, grpc = ("https", "https") if settings.tls_secret else ("http", "kubernetes.io/h2c")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "selector": meta["labels"],
            # Both families if the cluster has both.
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [
                {"name": "http", "port": HTTP_PORT, "targetPort": "http", "appProtocol": http},
                {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "appProtocol": grpc},
            ],
            **extra,
        },
    }


def _container(name: str, arguments: list[str], settings: Settings) -> Object:
    return {
        "name": name,
        "image": settings.runtime_image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["edge-runtime"],
        "args": arguments,
        "resources": dict(settings.runtime_resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "cache", "mountPath": _CACHE}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _pod(container: Object, hostname: str, settings: Settings) -> Object:
    secrets = [{"name": name} for name in settings.pull_secrets]
    return {
        "nodeSelector": {HOSTNAME_LABEL: hostname},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "enableServiceLinks": False,
        "volumes": [{"name": "cache", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    } | ({"imagePullSecrets": secrets} if secrets else {})


def _probe(path: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
