"""`ei` on the cluster: requests and uploads through the API server, and faults that are planted for real."""

import datetime
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from command_line import document, ei
from trials import GATEWAY, Document, Trial, another_service

PLACE = "planted"
OPERATOR_ROLE = "edge-intelligence-edge-operator"
DEFINITION = "tenants.edge-intelligence.io"
PLANTED = {
    "EI0202": "an older CRD",
    "EI0204": "a missing right",
    "EI0207": "an expired certificate",
    "EI0301": "an unreachable Triton server",
    "EI0302": "Triton without explicit control",
    "EI0303": "Triton with strict readiness",
    "EI0401": "a node without a class",
    "EI0501": "an image missing on a node",
    "EI0502": "a ResourceQuota in the way",
    "EI0601": "rules that no Prometheus selects",
}


def test_a_model_is_uploaded_and_listed_through_the_api_server(trial: Trial, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"x" * 3_000_000)
    stored = document(trial, "put", str(file), "--name", "uploads/weights.bin", "-n", "default")
    assert stored["storageUri"] == "store://uploads/weights.bin"
    assert stored["digest"].startswith("sha256:")
    listed = {each["storageUri"]: each["size"] for each in document(trial, "ls", "-n", "default")}
    assert listed[stored["storageUri"]] == 3_000_000


def test_requests_reach_a_service_through_the_api_server(trial: Trial, tmp_path: Path) -> None:
    reply = trial.ask(GATEWAY)
    form = trial.get("placement", f"digits.{GATEWAY}")["spec"]["model"]["inputs"][0]
    shape = [max(int(size), 1) for size in form["shape"]]
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    found = document(
        trial, "infer", "digits", "-n", "default", "--npy", str(tmp_path / "x.npy"), "--at", GATEWAY
    )
    assert list(found["outputs"]) == [reply.output]
    assert found["parameters"]["route"] in {
        route["name"] for route in trial.placements()[GATEWAY]["spec"]["routes"]
    }
    figures = document(
        trial, "bench", "digits", "-n", "default", "--requests", "10", "-c", "2", "--at", GATEWAY
    )
    assert (figures["requests"], figures["failed"]) == (10, 0)
    assert figures["latencyMs"]["p50"] > 0


def test_status_routes_and_wait_show_what_the_operator_reports(trial: Trial) -> None:
    (one,) = [each for each in document(trial, "status", "-A") if each["service"] == "digits"]
    assert one["ready"] == "True"
    tables = {each["node"]: each["routes"] for each in document(trial, "routes", "digits", "-n", "default")}
    assert {node: [route["name"] for route in table] for node, table in tables.items()} == {
        node: [route["name"] for route in body["spec"]["routes"]] for node, body in trial.placements().items()
    }
    assert ei(trial, "wait", "digits", "-n", "default", "--timeout", "60s").returncode == 0
    assert ei(trial, "wait", "digit", "-n", "default", "--timeout", "1ms").returncode == 5


def expired() -> Document:
    """A Secret with a certificate that ended yesterday, as a runtime's."""
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
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "edge-runtime-tls", "namespace": PLACE},
        "stringData": {"tls.crt": pem},
    }


def kind_of_monitoring(kind: str, plural: str) -> Document:
    """A CRD of the Prometheus operator, with any fields."""
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


KINDS = [
    kind_of_monitoring("Prometheus", "prometheuses"),
    kind_of_monitoring("PrometheusRule", "prometheusrules"),
]


def monitored(kind: str, spec: Document, **labels: str) -> Document:
    metadata = {"name": PLACE, "namespace": PLACE, "labels": labels}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": metadata, "spec": spec}


def planted() -> list[Document]:
    """Objects with faults, all in a namespace of their own but a pool and a node."""
    ours = {"app.kubernetes.io/managed-by": "edge-intelligence"}
    container = {"name": "main", "image": "localhost/none:1", "imagePullPolicy": "Never"}
    pod = {"nodeSelector": {"kubernetes.io/hostname": "cloud"}, "containers": [container]}
    triton = {"app": "planted-triton"}
    server = {**container, "args": ["tritonserver", "--model-repository=/models"]}
    pool = {
        "nodes": [{"deviceClass": "planted", "nodeSelector": {"planted": "none"}}],
        "tritonServers": [
            {
                "name": "planted",
                "httpAddress": f"triton.{PLACE}.svc.cluster.local:8000",
                "deviceClass": "planted",
                "nodeSelector": {"planted": "none"},
            }
        ],
    }
    service = another_service("planted")
    service["metadata"]["namespace"] = PLACE
    service["spec"]["devicePool"] = "nowhere"
    api, apps = "edge-intelligence.io/v1alpha1", "apps/v1"

    def deployment(name: str, replicas: int, labels: Document, spec: Document) -> Document:
        template = {"metadata": {"labels": labels}, "spec": spec}
        found = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        return {"apiVersion": apps, "kind": "Deployment", "metadata": named(name), "spec": found}

    def named(name: str) -> Document:
        return {"name": name, "namespace": PLACE}

    quota = {"hard": {"count/pods": "1"}}
    ports = [{"port": 8000}]
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**named("no-image"), "labels": ours}, "spec": pod},
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": named("small"), "spec": quota},
        deployment("refused", 1, {"app": "refused"}, pod),
        deployment("triton", 0, triton, {"containers": [server]}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named("triton"),
            "spec": {"selector": triton, "ports": ports},
        },
        {"apiVersion": api, "kind": "DevicePool", "metadata": {"name": PLACE}, "spec": pool},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": PLACE}, "spec": {}},
        expired(),
        service,
        monitored(
            "Prometheus", {"ruleSelector": {"matchLabels": {"release": "kps"}}, "ruleNamespaceSelector": {}}
        ),
        monitored("PrometheusRule", {}, **{"app.kubernetes.io/part-of": "edge-intelligence"}),
    ]


@contextmanager
def changed(trial: Trial, kind: str, name: str, change: Any) -> Iterator[None]:
    """An object of the whole cluster with a change; as before at the end."""
    kubectl = trial.cluster.kubectl
    before = json.loads(kubectl("get", kind, name, "-o", "json"))
    after = json.loads(json.dumps(before))
    change(after)
    del after["metadata"]["resourceVersion"]
    kubectl("replace", "-f", "-", text=json.dumps(after))
    try:
        yield
    finally:
        del before["metadata"]["resourceVersion"]
        kubectl("replace", "-f", "-", text=json.dumps(before))


def without_resizing(role: Document) -> None:
    role["rules"] = [rule for rule in role["rules"] if "pods/resize" not in rule["resources"]]


def without_ceiling(definition: Document) -> None:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["priorityCeiling"]


@pytest.fixture
def faults(trial: Trial) -> Iterator[None]:
    """A cluster with the faults in it."""
    kubectl = trial.cluster.kubectl
    kubectl("create", "namespace", PLACE)
    try:
        kubectl("apply", "-f", "-", text=yaml.safe_dump_all(KINDS))
        for each in KINDS:
            kubectl("wait", "--for=condition=Established", f"crd/{each['metadata']['name']}", "--timeout=30s")
        kubectl("apply", "-f", "-", text=yaml.safe_dump_all(planted()))
        with (
            changed(trial, "clusterrole", OPERATOR_ROLE, without_resizing),
            changed(trial, "crd", DEFINITION, without_ceiling),
        ):
            yield
    finally:
        kubectl("delete", "inferenceservice", PLACE, "-n", PLACE, "--ignore-not-found", "--timeout=60s")
        kubectl("delete", "node,devicepool", PLACE, "--ignore-not-found", "--timeout=60s")
        kubectl("delete", "namespace", PLACE, "--timeout=60s")
        kubectl("delete", "crd", *(each["metadata"]["name"] for each in KINDS), "--timeout=60s")


def found_by(trial: Trial) -> dict[str, list[str]]:
    """What the doctor finds: messages by code."""
    done = ei(trial, "doctor", "-o", "json")
    assert done.returncode in (0, 1), done.stderr
    return {
        each["code"]: [finding["message"] for finding in each["findings"]]
        for each in json.loads(done.stdout)["checks"]
        if each.get("findings")
    }


def test_the_doctor_finds_no_error_in_the_cluster_and_reaches_triton(trial: Trial) -> None:
    report = document(trial, "doctor")
    assert report["healthy"]
    results = {each["code"]: each["result"] for each in report["checks"]}
    for code in (
        "EI0101",
        "EI0201",
        "EI0202",
        "EI0203",
        "EI0204",
        "EI0301",
        "EI0302",
        "EI0303",
        "EI0304",
        "EI0305",
    ):
        assert results[code] == "passed", (code, report)


def test_the_doctor_finds_each_planted_fault(trial: Trial, faults: None) -> None:
    trial.wait("every planted fault", lambda: set(found_by(trial)) >= set(PLANTED), 60)
    found = found_by(trial)
    assert any(PLACE in message for message in found["EI0301"])
    assert any("pods/resize" in message for message in found["EI0204"])
    assert any("spec.priorityCeiling" in message for message in found["EI0202"])
    assert any("localhost/none:1" in message for message in found["EI0501"])
    assert any("small" in message for message in found["EI0502"])
