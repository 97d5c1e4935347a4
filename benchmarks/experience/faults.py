"""Plants the faults that `ei doctor` has to find, into a running cluster with the example on it.

What a fault damages is put back at the end. The example keeps serving.
"""

from __future__ import annotations

import base64
import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_api.quantities import parse_quantity
from edge_operator.tritons.tail_models import installation_identity
from testbed import Testbed
from testbed.bed import MANIFESTS
from testbed.topology import CLOUD

Document = dict[str, Any]
Findings = dict[str, list[str]]
"""Messages by code."""
PLANTED: Final = {
    "EI0103": "clock skew",
    "EI0202": "CRDs older than the operator",
    "EI0204": "a missing right",
    "EI0205": "the store's PVC pending",
    "EI0207": "an expired certificate",
    "EI0301": "Triton unreachable",
    "EI0302": "Triton without explicit control",
    "EI0303": "Triton with strict readiness",
    "EI0304": "Triton with a foreign mark",
    "EI0305": "Triton with its control open",
    "EI0401": "a node without a class",
    "EI0402": "a link below every route",
    "EI0501": "an image missing on a node",
    "EI0502": "a ResourceQuota in the way",
    "EI0601": "rules that no Prometheus selects",
}
IN_OBJECTS: Final = PLANTED.keys() - {"EI0103", "EI0205", "EI0304", "EI0305", "EI0402"}
"""Codes of the faults for which the API server is enough."""
PLACE, OPEN, SYSTEM = "planted", "planted-open", "edge-intelligence"
SLOW_NODE: Final = "edge-c"
"""Whose link gets slow."""
FOREIGN: Final = "0123456789ab"
"""Another installation."""
AHEAD: Final = datetime.timedelta(minutes=1)
_ROLE, _DEFINITION = "edge-intelligence-edge-operator", "tenants.edge-intelligence.io"
_CLAIM: Final = "planted-store"
_HEADER: Final = "edge-model-control"
_GONE: Final = ("--ignore-not-found", "--timeout=60s")
_UNLOAD: Final = (
    "import sys, urllib.request as u; "
    "u.urlopen(u.Request(sys.argv[1], b'{}', {sys.argv[2]: sys.argv[3]}), timeout=60)"
)


class Kubectl(Protocol):
    """Runs kubectl. text: its standard input."""

    def __call__(self, *args: str, text: str | None = None) -> str: ...


@dataclass(frozen=True)
class Cluster:
    """The cluster with the example; `kubectl` runs against it."""

    bed: Testbed
    kubectl: Kubectl

    def get(self, *what: str) -> Document:
        """Returns an object, or a list of them."""
        found: Document = json.loads(self.kubectl("get", *what, "-o", "json"))
        return found

    def apply(self, *bodies: Document) -> None:
        """Applies objects."""
        self.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(bodies))


def found(bed: Testbed) -> Findings:
    """Runs `ei doctor`; returns the messages of its findings by code. Raises CalledProcessError."""
    doctor = [sys.executable, "-m", "edge_cli.app", "doctor", "-o", "json"]
    argv, variables = bed.shell_command(CLOUD, doctor)
    done = subprocess.run(argv, env=variables, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, doctor, done.stdout, done.stderr)
    return {
        each["code"]: [finding["message"] for finding in each["findings"]]
        for each in json.loads(done.stdout)["checks"]
        if each.get("findings")
    }


@contextmanager
def planted(cluster: Cluster) -> Iterator[Callable[[], Findings]]:
    """Plants all faults; yields a function that runs the doctor and returns its findings.

    The operator and the nodes take some seconds until every fault shows.
    """
    plants: tuple[Callable[[Cluster], AbstractContextManager[None]], ...] = (
        _claim, _foreign_mark, _open, _slow_link
    )  # fmt: skip
    with planted_objects(cluster), ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant(cluster))

        def look() -> Findings:
            _skew(cluster)
            return found(cluster.bed)

        yield look


@contextmanager
def planted_objects(cluster: Cluster) -> Iterator[None]:
    """Plants the faults of `IN_OBJECTS`, for which the API server is enough."""
    with (
        _objects(cluster),
        _changed(cluster, "clusterrole", _ROLE, _without_resizing),
        _changed(cluster, "crd", _DEFINITION, _without_ceiling),
    ):
        yield


def _expired() -> str:
    """Returns a certificate that ended yesterday, in PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "planted")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now - datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _kind_of_monitoring(kind: str, plural: str) -> Document:
    """Returns a CRD of the Prometheus operator, with any fields."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


KINDS = (
    _kind_of_monitoring("Prometheus", "prometheuses"),
    _kind_of_monitoring("PrometheusRule", "prometheusrules"),
)


def _named(name: str, namespace: str = PLACE, **labels: str) -> Document:
    return {"name": name, "namespace": namespace, "labels": labels}


def _monitored(kind: str, spec: Document, **labels: str) -> Document:
    api = "monitoring.coreos.com/v1"
    return {"apiVersion": api, "kind": kind, "metadata": _named(PLACE, **labels), "spec": spec}


def _server(name: str, namespace: str) -> Document:
    return {
        "name": name,
        "httpAddress": f"triton.{namespace}.svc.cluster.local:8000",
        "deviceClass": "planted",
        "nodeSelector": {"planted": "none"},
    }


def _bodies() -> list[Document]:
    """Returns objects with faults, in a namespace of their own but for a pool and a node."""
    container = {"name": "main", "image": "localhost/none:1", "imagePullPolicy": "Never"}
    pod = {"nodeSelector": {"kubernetes.io/hostname": CLOUD}, "containers": [container]}
    triton = {"app": "planted-triton"}
    server = {**container, "args": ["tritonserver", "--model-repository=/models"]}
    pool = {
        "nodes": [{"deviceClass": "planted", "nodeSelector": {"planted": "none"}}],
        "tritonServers": [_server("planted", PLACE), _server("open", OPEN)],
    }
    model, slo = {"storageUri": "store://digits/digits.onnx"}, {"latency": "150ms"}
    service = {"model": model, "slo": slo, "devicePool": "nowhere"}
    api = "edge-intelligence.io/v1alpha1"

    def deployment(name: str, replicas: int, labels: Document, spec: Document) -> Document:
        template = {"metadata": {"labels": labels}, "spec": spec}
        wanted = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _named(name), "spec": wanted}

    def core(kind: str, metadata: Document, **more: Any) -> Document:  # noqa: ANN401 - fields of any kind
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}

    selectors = {"ruleSelector": {"matchLabels": {"release": "kps"}}, "ruleNamespaceSelector": {}}
    return [
        deployment("refused", 1, {"app": "refused"}, pod),
        deployment("triton", 0, triton, {"containers": [server]}),
        core("Service", _named("triton"), spec={"selector": triton, "ports": [{"port": 8000}]}),
        {"apiVersion": api, "kind": "DevicePool", "metadata": {"name": PLACE}, "spec": pool},
        core("Node", {"name": PLACE}, spec={}),
        core("Secret", _named("edge-runtime-tls"), stringData={"tls.crt": _expired()}),
        {"apiVersion": api, "kind": "InferenceService", "metadata": _named(PLACE), "spec": service},
        _monitored("Prometheus", selectors),
        _monitored("PrometheusRule", {}, **{"app.kubernetes.io/part-of": "edge-intelligence"}),
    ]


def _full() -> list[Document]:
    """Returns a ResourceQuota of one pod, and that pod."""
    container = {"name": "main", "image": "localhost/none:1", "imagePullPolicy": "Never"}
    pod = {"nodeSelector": {"kubernetes.io/hostname": CLOUD}, "containers": [container]}
    ours = _named("no-image", **{"app.kubernetes.io/managed-by": "edge-intelligence"})
    hard = {"hard": {"count/pods": "1"}}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": ours, "spec": pod},
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": _named("small"), "spec": hard},
    ]


@contextmanager
def _objects(cluster: Cluster) -> Iterator[None]:
    kubectl = cluster.kubectl
    kubectl("create", "namespace", PLACE)
    try:
        cluster.apply(*KINDS)
        for each in KINDS:
            kubectl("wait", "--for=condition=Established", f"crd/{each['metadata']['name']}", "--timeout=30s")
        cluster.apply(*_full())
        # Until it is counted, the API server can still admit pods.
        counted = "--for=jsonpath={.status.used['count/pods']}=1"
        kubectl("wait", counted, "resourcequota/small", "-n", PLACE, "--timeout=60s")
        cluster.apply(*_bodies())
        yield
    finally:
        kubectl("delete", "inferenceservice", PLACE, "-n", PLACE, *_GONE)
        kubectl("delete", "node,devicepool", PLACE, *_GONE)
        kubectl("delete", "lease", PLACE, "-n", "kube-node-lease", *_GONE)
        kubectl("delete", "namespace", PLACE, "--timeout=60s")
        kubectl("delete", "crd", *(each["metadata"]["name"] for each in KINDS), *_GONE)


def _skew(cluster: Cluster) -> None:
    """Renews the Lease of the planted node as a kubelet does whose clock is ahead; the node is Ready."""
    renewed = datetime.datetime.now(datetime.UTC) + AHEAD
    spec = {
        "holderIdentity": PLACE,
        "leaseDurationSeconds": 40,
        "renewTime": renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    cluster.apply(lease | {"metadata": _named(PLACE, "kube-node-lease"), "spec": spec})
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "planted"}
    patch = json.dumps({"status": {"conditions": [ready]}})
    cluster.kubectl("patch", "node", PLACE, "--subresource=status", "--type=strategic", "-p", patch)


@contextmanager
def _changed(cluster: Cluster, kind: str, name: str, change: Callable[[Document], None]) -> Iterator[None]:
    """An object of the whole cluster with a change; as before at the end."""
    before = cluster.get(kind, name)
    after = json.loads(json.dumps(before))
    change(after)
    del after["metadata"]["resourceVersion"]
    cluster.kubectl("replace", "-f", "-", text=json.dumps(after))
    try:
        yield
    finally:
        del before["metadata"]["resourceVersion"]
        cluster.kubectl("replace", "-f", "-", text=json.dumps(before))


def _without_resizing(role: Document) -> None:
    role["rules"] = [rule for rule in role["rules"] if "pods/resize" not in rule["resources"]]


def _without_ceiling(definition: Document) -> None:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["priorityCeiling"]


@contextmanager
def _claim(cluster: Cluster) -> Iterator[None]:
    """The store's Deployment names a claim that no volume fits; paused, so that the store that runs stays."""
    kubectl, deployment = cluster.kubectl, ("deployment/model-store", "-n", SYSTEM)
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "missing", "resources": resources}
    before = cluster.get("deployment", "model-store", "-n", SYSTEM)["spec"]["template"]["spec"]["volumes"]
    place = next(i for i, volume in enumerate(before) if "emptyDir" in volume or _claims(volume))
    volume = {"name": before[place]["name"], "persistentVolumeClaim": {"claimName": _CLAIM}}

    def put(wanted: Document) -> None:
        patch = [{"op": "replace", "path": f"/spec/template/spec/volumes/{place}", "value": wanted}]
        kubectl("patch", *deployment, "--type=json", "-p", json.dumps(patch))

    kubectl("rollout", "pause", *deployment)
    try:
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        cluster.apply(claim | {"metadata": _named(_CLAIM, SYSTEM), "spec": spec})
        put(volume)
        yield
    finally:
        put(before[place])
        kubectl("rollout", "resume", *deployment)
        kubectl("delete", "pvc", _CLAIM, "-n", SYSTEM, *_GONE)


def _claims(volume: Document) -> bool:
    return "persistentVolumeClaim" in volume


@contextmanager
def _foreign_mark(cluster: Cluster) -> Iterator[None]:
    """A model on the example's Triton that has a name of this installation and the mark of another."""
    uid = cluster.get("namespace", "kube-system")["metadata"]["uid"]
    model = f"edge-{installation_identity(uid, SYSTEM, None)}-{0:024x}"
    secret = cluster.get("secret", "triton-control", "-n", "triton")
    key = base64.b64decode(secret["data"]["key"]).decode()
    address = cluster.get("service", "triton", "-n", "triton")["spec"]["clusterIP"] + ":8000"
    program = Path(__file__).with_name("foreign_model.py")

    def inside(*argv: str) -> None:
        subprocess.run([*cluster.bed.in_node(CLOUD), sys.executable, *argv], check=True, timeout=120)

    inside(str(program), address, _HEADER, key, model, FOREIGN)
    try:
        yield
    finally:
        inside("-c", _UNLOAD, f"http://{address}/v2/repository/models/{model}/unload", _HEADER, key)


def _open_server() -> Sequence[Document]:
    """Returns the testbed's Triton in another namespace, without a key."""
    bodies = list(yaml.safe_load_all((MANIFESTS / "triton.yaml").read_text()))
    deployment, service = (
        next(body for body in bodies if body["kind"] == kind) for kind in ("Deployment", "Service")
    )
    for body in (deployment, service):
        body["metadata"]["namespace"] = OPEN
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    container["args"] = [each for each in container["args"] if "restricted" not in each]
    del container["env"]
    return deployment, service


@contextmanager
def _open(cluster: Cluster) -> Iterator[None]:
    cluster.kubectl("create", "namespace", OPEN)
    try:
        cluster.apply(*_open_server())
        cluster.kubectl("rollout", "status", "deployment/triton", "-n", OPEN, "--timeout=180s")
        yield
    finally:
        cluster.kubectl("delete", "namespace", OPEN, "--timeout=120s")


@contextmanager
def _slow_link(cluster: Cluster) -> Iterator[None]:
    """The link of a node carries half of what its first route over it needs."""
    table = cluster.get("placement", f"digits.{SLOW_NODE}", "-n", "default")["spec"]["routes"]
    needed = [
        bits for bits in (parse_quantity(route.get("minBandwidth", "0")) for route in table) if bits > 0
    ]
    cluster.bed.link(SLOW_NODE).set_rate(min(needed) / 2)
    try:
        yield
    finally:
        cluster.bed.link(SLOW_NODE).set_rate(None)
