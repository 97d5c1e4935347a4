"""A healthy cluster as `ei doctor` gathers it, and objects of faults. Made up, as API servers have them."""

import copy
import datetime
from dataclasses import replace
from typing import Any

import yaml

from edge_api.generate import files
from edge_cli.doctor.rights import required
from edge_cli.doctor.states import CertificateSeen, ClusterState, ServerSeen
from operator_objects import node_body, pool_body, service_body

NOW = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
SYSTEM, INSTALLATION = "edge-intelligence", "c0ffee000000"
PART_OF = {"app.kubernetes.io/part-of": "edge-intelligence"}
OURS = {"app.kubernetes.io/managed-by": "edge-intelligence"}
Object = dict[str, Any]


def deployment(name: str, namespace: str = SYSTEM, **pod: Any) -> Object:
    labels = PART_OF | {"app.kubernetes.io/name": name, "app.kubernetes.io/version": "0.1.0"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": labels}, "spec": pod}},
        "status": {"readyReplicas": 1},
    }


def webhook_configuration(authority: str = "") -> Object:
    config = {"service": {"namespace": SYSTEM, "name": "edge-admission"}, "caBundle": authority}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "edge-admission", "labels": PART_OF},
        "webhooks": [{"name": "admission.edge-intelligence.io", "clientConfig": config}],
    }


def definitions() -> tuple[Object, ...]:
    found = [yaml.safe_load(text) for text in files().values()]
    status = {"conditions": [{"type": "Established", "status": "True"}]}
    return tuple(body | {"status": status} for body in found)


def placement(bandwidth: str, state: str = "Up") -> Object:
    piece = {"digest": "sha256:" + "ab" * 32, "size": 10}
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
    cut = piece | {"inputs": [tensor], "outputs": [tensor]}
    here = {"place": "cam-1", "runtime": "Edge", "slice": cut}
    there = {"place": "cloud", "runtime": "Triton", "slice": cut, "address": "http://t:8000", "model": "m"}

    def route(name: str, least: str, *stages: Object) -> Object:
        return {
            "name": name, "exit": "final", "cut": "x" if len(stages) > 1 else "local", "accuracy": 0.9,
            "minBandwidth": least, "predictedLatency": "50ms", "stages": list(stages),
        }  # fmt: skip

    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "Placement",
        "metadata": {"name": "digits.cam-1", "namespace": "default", "generation": 1},
        "spec": {
            "service": "digits",
            "node": "cam-1",
            "model": {"digest": "sha256:" + "ab" * 32, "inputs": [tensor], "outputs": [tensor]},
            "slo": {"latency": "90ms"},
            "link": {"peer": "cloud", "probe": "http://t:8000/v2/health/live"},
            "routes": [route("final@x", "2M", here, there), route("final@local", "0", here)],
        },
        "status": {"loaded": True, "link": {"state": state, "bandwidth": bandwidth}},
    }


def store_deployment() -> Object:
    return deployment(
        "model-store", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "model-store"}}]
    )


def claim(phase: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "model-store", "namespace": SYSTEM, "uid": "claim"},
        "spec": {"storageClassName": "fast"},
        "status": {"phase": phase},
    }


def monitored(kind: str, **labels: str) -> Object:
    metadata = {"name": "edge", "namespace": SYSTEM, "labels": PART_OF | labels}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": metadata, "spec": {}}


def prometheus(**spec: Any) -> Object:
    metadata = {"name": "k8s", "namespace": "monitoring"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Prometheus",
        "metadata": metadata,
        "spec": spec,
    }


EVERYTHING: dict[str, Any] = {
    f"{kind}{part}": {}
    for kind in ("rule", "podMonitor", "serviceMonitor")
    for part in ("Selector", "NamespaceSelector")
}


def service(*conditions: Object) -> Object:
    return service_body() | {"status": {"conditions": list(conditions)}}


def condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def lease(holder: str = "edge-operator-0_1", renewed: float = 1.0) -> Object:
    """The Lease of the operator's replicas. renewed: seconds ago."""
    at = (NOW - datetime.timedelta(seconds=renewed)).isoformat()
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "edge-operator", "namespace": SYSTEM},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 11, "renewTime": at},
    }


def replicas(ready: int, wanted: int) -> Object:
    """The operator's Deployment."""
    body = deployment("edge-operator")
    return body | {"spec": {**body["spec"], "replicas": wanted}, "status": {"readyReplicas": ready}}


def healthy() -> ClusterState:
    nodes = [node_body("cam-1", "camera"), node_body("gate", "gateway"), node_body("big", "cloud")]
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {}}}
        for name in ("default", SYSTEM, "monitoring")
    ]
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass"}
    objects: dict[str, tuple[Object, ...]] = {
        "CustomResourceDefinition": definitions(),
        "Node": tuple({**node, "spec": {}} for node in nodes),
        "Namespace": tuple(namespaces),
        "DevicePool": (pool_body(),),
        "InferenceService": (service(condition("Planned", "True", "Planned", "fine")),),
        "Placement": (placement("20M"),),
        "Deployment": (deployment("edge-operator"), store_deployment()),
        "Pod": (),
        "Lease": (lease(),),
        "PersistentVolumeClaim": (claim("Bound"),),
        "ResourceQuota": (),
        "Event": (),
        "StorageClass": ({**storage, "metadata": {"name": "fast", "annotations": default}},),
        "Prometheus": (prometheus(**EVERYTHING),),
        "PrometheusRule": (monitored("PrometheusRule"),),
        "PodMonitor": (monitored("PodMonitor"),),
        "ServiceMonitor": (),
    }
    arguments = ("tritonserver", "--model-control-mode=explicit", "--strict-readiness=false")
    name = f"edge-{INSTALLATION}-{'0' * 24}"
    server = ServerSeen(
        "factory", "cloud", "http://triton.test:8000", reachable=True, arguments=arguments,
        marks={name: {"owner": INSTALLATION, "slice": "sha256:00"}}, control_open=False,
    )  # fmt: skip
    day = datetime.timedelta(days=1)
    return ClusterState(
        now=NOW,
        namespace=SYSTEM,
        installation=INSTALLATION,
        version=(1, 34),
        objects=objects,
        rights=dict.fromkeys(required(SYSTEM, None), True),
        servers=(server,),
        certificates=(CertificateSeen("Secret a, tls.crt", NOW - 10 * day, NOW + 80 * day),),
        clocks={"this machine": 0.4, "node cam-1": -6.0},
        program="0.1.0",
    )


def with_objects(state: ClusterState, **changed: tuple[Object, ...]) -> ClusterState:
    return replace(state, objects={**state.objects, **changed})


def with_server(state: ClusterState, **changed: Any) -> ClusterState:
    return replace(state, servers=(replace(state.servers[0], **changed),))


def pod(reason: str) -> Object:
    waiting = {"waiting": {"reason": reason, "message": 'Back-off pulling image "r.test/edge:1"'}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "edge-runtime-cam-1-x", "namespace": "default", "labels": OURS},
        "spec": {"nodeName": "cam-1", "containers": [{"name": "runtime", "image": "r.test/edge:1"}]},
        "status": {"containerStatuses": [{"name": "runtime", "state": waiting}]},
    }


def node_caches(**ready: str) -> dict[str, tuple[Object, ...]]:
    """An operator with caches of nodes, a runtime at each of these nodes, and agents that are ready or not.

    ready: the status of the condition of each node's agent.
    """
    env = [{"name": "EDGE_NODE_CACHE", "value": "https://edge-node-cache:8080"}]
    pods = []
    for node, status in ready.items():
        runtime = {"app.kubernetes.io/component": "runtime", **OURS}
        agent = {"app.kubernetes.io/name": "edge-node-cache", **PART_OF}
        for name, namespace, labels in ((f"r-{node}", "default", runtime), (f"a-{node}", SYSTEM, agent)):
            condition = {"type": "Ready", "status": status}
            pods.append(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": name, "namespace": namespace, "labels": labels},
                    "spec": {"nodeName": node},
                    "status": {"conditions": [condition]},
                }
            )
    operator = deployment("edge-operator", containers=[{"name": "operator", "env": env}])
    return {"Deployment": (operator, store_deployment()), "Pod": tuple(pods)}


def older() -> tuple[Object, ...]:
    found = copy.deepcopy(definitions())
    for body in found:
        if body["spec"]["names"]["kind"] == "InferenceService":
            schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            del schema["properties"]["spec"]["properties"]["model"]["properties"]["samples"]
    return found


def refused_by_quota() -> Object:
    body = deployment("edge-runtime-cam-1", "default")
    said = 'pods "edge-runtime-cam-1-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3'
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said}
    return body | {"status": {"readyReplicas": 1, "conditions": [failed]}}
