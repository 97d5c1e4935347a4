"""Builds Kubernetes objects: the runtimes' Deployments and Services, and the profiling Job. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from types import MappingProxyType

from edge_api.devicepools import SharedMemory
from edge_api.policies import Isolation
from edge_api.store_access import AUDIENCE
from edge_operator.cluster import Object
from edge_operator.names import (
    API_VERSION,
    APPLIED_ANNOTATION,
    CPU_WEIGHT_ANNOTATION,
    DEVICE_CLASS_LABEL,
    HOSTNAME_LABEL,
    ISOLATION_LABEL,
    MANAGED_BY,
    MODEL_LABEL,
    NODE_LABEL,
    ROLE_LABEL,
    RUNTIME_LABEL,
    SELECTION_LABEL,
    SERVICE_LABEL,
    label_value,
    model_label,
    profile_job_name,
)
from edge_operator.nodes.cpu_requests import CONTAINER, weighted
from edge_operator.nodes.peers import PEER_GRPC_PORT, PEER_PORT, PEER_SECRET
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.tolerations import ALWAYS
from edge_operator.settings import Settings

HTTP_PORT = 8080
GRPC_PORT = 8081
SHARED_ACCOUNT = "edge-runtime"
"""Name of the ServiceAccount that the runtimes of a namespace share."""
_USER = 65532
_DOMAIN = "cluster.local"
"""The runtimes' default."""
_HEALTH_PORT = 8082
_CACHE = "/var/cache/edge"
_TLS = "/etc/edge/tls"
_SHARED_MEMORY = "/var/run/edge/shared-memory"
_STORE_TOKEN = "/var/run/secrets/edge-model-store"  # noqa: S105 - a folder
_PROFILER_ACCOUNT = "edge-profiler"
NODE_CACHE_VARIABLE = "EDGE_NODE_CACHE"
PROVIDERS_VARIABLE = "EDGE_EXECUTION_PROVIDERS"
"""Variables of the runtime; tests compare them."""


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


def traffic_distribution(version: tuple[int, int]) -> str:
    """Returns which endpoints a Service prefers: those of the client's node, if the API server can do that.

    version: the API server's, as (1, 34). Before 1.34, the nearest is those of the client's zone.
    """
    if version >= (1, 34):
        return "PreferSameNode"
    return "PreferClose" if version >= (1, 31) else ""


def client_service(
    service: Object, isolation: Isolation, settings: Settings, live: Object | None = None
) -> Object:
    """Returns the Service for clients of an InferenceService. live: the Service that there is.

    It prefers the runtime of the client's node. For a Shared service it selects all Shared runtimes of the
    namespace, since a runtime forwards a request for a service that only other nodes serve.
    """
    name = service["metadata"]["name"]
    selector: dict[str, str] = {ISOLATION_LABEL: isolation}
    if isolation == "Dedicated":
        selector[SERVICE_LABEL] = label_value(name)
    extra = {"internalTrafficPolicy": "Cluster"}
    if settings.traffic_distribution:
        extra["trafficDistribution"] = settings.traffic_distribution
    body = _network_service(metadata(service, name), selector, settings, extra)
    if (exposure := service["spec"].get("exposure")) is not None:
        # Local: a client chooses the node whose runtime responds, and keeps its own address.
        body["spec"] |= {"type": exposure["type"], "externalTrafficPolicy": "Local"}
        for port in body["spec"]["ports"]:
            if number := exposure.get(f"{port['name']}Port"):
                port["nodePort"] = number
    elif live is not None and live["spec"].get("type", "ClusterIP") != "ClusterIP":
        body["spec"]["type"] = "ClusterIP"
    return body


def service_url(name: str, namespace: str, scheme: str, domain: str) -> str:
    """Returns the URL of a Service's HTTP endpoint. domain: of the cluster."""
    return f"{scheme}://{name}.{namespace}.svc.{domain}:{HTTP_PORT}"


def runtime_service(runtime: Runtime, settings: Settings) -> Object:
    """Returns the Service of exactly one runtime, for other runtimes and for clients that choose a node."""
    service = _network_service(runtime_metadata(runtime), {RUNTIME_LABEL: runtime.name}, settings)
    if settings.issues_certificates:
        service["spec"]["ports"] += [
            {"name": "peer", "port": PEER_PORT, "targetPort": "peer", "appProtocol": "https"},
            {"name": "peer-grpc", "port": PEER_GRPC_PORT, "targetPort": "peer-grpc", "appProtocol": "https"},
        ]
    return service


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
    image: str = "",
    execution_providers: Sequence[str] = (),
) -> Object:
    """Returns the Job that measures a model on a device class; in the operator's namespace, for all services.

    selection: of the nodes of the class in their pool. annotations: of the attempt. tolerations, image,
    execution_providers: those of the node's group.
    """
    name = profile_job_name(device_class, selection, digest)
    job_labels = {
        DEVICE_CLASS_LABEL: label_value(device_class),
        SELECTION_LABEL: selection,
        MODEL_LABEL: model_label(digest),
        NODE_LABEL: label_value(node),
        ROLE_LABEL: "profiler",
        **MANAGED_BY,
    }
    arguments = ["profile-device", "--model", digest, "--device-class", device_class]
    arguments += ["--selection", selection, "--node", node, "--store", settings.store_url]
    container = runtime_container("profiler", arguments, settings, image, execution_providers)
    # The pod's status then has the error that the measurement ended with.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    pod = restricted_pod(container, hostname, settings) | (
        {"tolerations": list(tolerations)} if tolerations else {}
    )
    if settings.own_secret and settings.store_url.startswith("https://"):
        container["args"] += ["--tls-dir", _TLS]
        _mount(container, pod, settings.own_secret)
    if settings.store_token:
        show_token(container, pod)
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


def account_name(runtime: Runtime, settings: Settings) -> str:
    """Returns the name of the ServiceAccount of a runtime's pods."""
    return runtime.name if settings.own_accounts else SHARED_ACCOUNT


def runtime_metadata(runtime: Runtime) -> Object:
    """Returns the metadata of an object of a runtime. It has no owner: its services come and go."""
    own = {SERVICE_LABEL: label_value(runtime.service)} if runtime.service else {}
    return {
        "name": runtime.name,
        "namespace": runtime.namespace,
        "labels": {
            RUNTIME_LABEL: runtime.name,
            ISOLATION_LABEL: runtime.isolation,
            NODE_LABEL: label_value(runtime.node),
            ROLE_LABEL: "runtime",
            **own,
            **MANAGED_BY,
        },
    }


def runtime_deployment(
    runtime: Runtime, host: Host, settings: Settings, strategy: Object, weight: float = 1.0
) -> Object:
    """Returns the Deployment of a runtime. It does not depend on the services or on their routes.

    strategy: how its pod is replaced by one of a new version. weight: of the processor time that it requests.
    """
    meta = runtime_metadata(runtime)
    container = runtime_container(
        CONTAINER,
        [
            *("run", "--namespace", runtime.namespace, "--node", runtime.node),
            *(("--service", runtime.service) if runtime.service else ()),
            *("--store", settings.store_url, "--cache-dir", _CACHE),
            *("--http-port", str(HTTP_PORT), "--grpc-port", str(GRPC_PORT)),
            *(("--cluster-domain", domain) if (domain := settings.cluster_domain) != _DOMAIN else ()),
            *(f"--{flag}={value}" for flag, value in settings.grpc_flags.items()),
        ],
        settings,
        host.image,
        host.execution_providers,
    ) | {
        "ports": [{"name": "http", "containerPort": HTTP_PORT}, {"name": "grpc", "containerPort": GRPC_PORT}],
        "readinessProbe": _probe("/v2/health/ready", period=2, failures=3),
        "livenessProbe": _probe("/v2/health/live", period=10, failures=6),
        "startupProbe": _probe("/v2/health/live", period=2, failures=60),
        "resources": dict(weighted(settings.runtime_resources, weight)),
    }
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(HTTP_PORT),
        "prometheus.io/path": "/metrics",
    }
    if settings.tls_secret:
        _guard(container, annotations)
    elif settings.issues_certificates:
        _add_peer_ports(container)
    if settings.node_cache_url:
        # Not a flag, which runtimes of older images would refuse.
        variable = {"name": NODE_CACHE_VARIABLE, "value": settings.node_cache_url}
        container.setdefault("env", []).append(variable)
    if settings.tracing_endpoint:
        container.setdefault("env", []).extend(_tracing(settings, runtime.namespace, runtime.node))
    pod = restricted_pod(container, host.hostname, settings) | {
        "serviceAccountName": account_name(runtime, settings),
        "tolerations": [*ALWAYS, *host.tolerations],
        "terminationGracePeriodSeconds": 30,
        **({"priorityClassName": name} if (name := settings.priority_class) else {}),
    }
    if secret := settings.tls_secret or (PEER_SECRET if settings.issues_certificates else ""):
        _mount(container, pod, secret)
    if settings.store_token:
        show_token(container, pod)
    if host.shared_memory is not None and runtime.namespace in host.shared_memory.namespaces:
        _share_memory(container, pod, host.shared_memory)
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 2,
        # It can never change; all other labels can.
        "selector": {"matchLabels": {RUNTIME_LABEL: runtime.name}},
        "template": {"metadata": {"labels": meta["labels"], "annotations": annotations}, "spec": pod},
    }
    applied = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta | {"annotations": {APPLIED_ANNOTATION: applied, **_weight_note(weight)}},
        "spec": spec | {"strategy": strategy},
    }


def runtime_version(namespace: str, host: Host, settings: Settings) -> str:
    """Returns the name of a version: a fingerprint of what the pods of all nodes of a group have."""
    anywhere = replace(host, hostname="", tolerations=(), taints=(), memory=inf, shared_memory=None)
    body = runtime_deployment(Runtime(namespace, ""), anywhere, settings, {})
    name: str = body["metadata"]["annotations"][APPLIED_ANNOTATION]
    return name


def _weight_note(weight: float) -> dict[str, str]:
    return {} if weight == 1 else {CPU_WEIGHT_ANNOTATION: f"{weight:g}"}


def _guard(container: Object, annotations: dict[str, str]) -> None:
    """Adds the TLS flags; the kubelet and Prometheus, which have no certificates, use a plaintext port."""
    container["args"] += ["--tls-dir", _TLS, "--health-port", str(_HEALTH_PORT)]
    container["ports"].append({"name": "health", "containerPort": _HEALTH_PORT})
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        container[probe]["httpGet"]["port"] = "health"
    annotations["prometheus.io/port"] = str(_HEALTH_PORT)


def _add_peer_ports(container: Object) -> None:
    """Adds ports with TLS for other nodes; those for clients stay as they are."""
    container["args"] += ["--tls-dir", _TLS]
    container["args"] += ["--peer-port", str(PEER_PORT), "--peer-grpc-port", str(PEER_GRPC_PORT)]
    container["ports"] += [
        {"name": "peer", "containerPort": PEER_PORT},
        {"name": "peer-grpc", "containerPort": PEER_GRPC_PORT},
    ]


def _mount(container: Object, pod: Object, secret: str) -> None:
    """Adds a volume that the pod's group alone can read; the kubelet updates it with the Secret."""
    container["volumeMounts"].append({"name": "tls", "mountPath": _TLS, "readOnly": True})
    pod["volumes"].append({"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}})


def _share_memory(container: Object, pod: Object, shared: SharedMemory) -> None:
    """Adds the volume in which clients on the node pass tensors."""
    container["args"] += ["--shared-memory", _SHARED_MEMORY]
    container["args"] += [f"--shared-memory-owner={owner}" for owner in shared.owners or ()]
    container["volumeMounts"].append({"name": "shared-memory", "mountPath": _SHARED_MEMORY})
    claim = {"claimName": shared.claim_name}
    pod["volumes"].append({"name": "shared-memory", "persistentVolumeClaim": claim})


def show_token(container: Object, pod: Object) -> None:
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
    meta: Object,
    selector: Mapping[str, str],
    settings: Settings,
    extra: Mapping[str, str] = MappingProxyType({}),
) -> Object:
    http, grpc = ("https", "https") if settings.tls_secret else ("http", "kubernetes.io/h2c")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "selector": dict(selector),
            # Both families if the cluster has both.
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [
                {"name": "http", "port": HTTP_PORT, "targetPort": "http", "appProtocol": http},
                {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "appProtocol": grpc},
            ],
            **extra,
        },
    }


def runtime_container(
    name: str,
    arguments: list[str],
    settings: Settings,
    image: str = "",
    execution_providers: Sequence[str] = (),
) -> Object:
    """Returns a container of the runtime's image that has no rights on its node.

    image: another one than that of the settings. execution_providers: in the order in which they are tried.
    """
    providers = {"name": PROVIDERS_VARIABLE, "value": ",".join(execution_providers)}
    return ({"env": [providers]} if execution_providers else {}) | {
        "name": name,
        "image": image or settings.runtime_image,
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


def restricted_pod(container: Object, hostname: str, settings: Settings) -> Object:
    """Returns a pod that the standard `restricted` admits. hostname: of its node; empty: any node."""
    secrets = [{"name": name} for name in settings.pull_secrets]
    return {
        "nodeSelector": {HOSTNAME_LABEL: hostname} if hostname else {},
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
