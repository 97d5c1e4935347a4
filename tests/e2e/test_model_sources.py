"""Models from an S3 server and a registry behind Secrets, and from a volume, on the cluster."""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from demo.installation import NAMESPACE
from model_servers import registry, s3_server
from trials import Trial, another_service

FETCHED = 600.0
S3_PORT, REGISTRY_PORT = 17070, 17071
EDGE = "edge-a"
Document = dict[str, Any]


@contextmanager
def applied(trial: Trial, *manifests: Mapping[str, Any]) -> Iterator[None]:
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(manifests))
    try:
        yield
    finally:
        for manifest in reversed(manifests):
            kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]
            trial.cluster.kubectl("delete", kind, name, "--wait", "--timeout=60s", "--ignore-not-found")


@pytest.fixture(scope="module")
def cloud(installed: Trial) -> str:
    """The internal address of the cloud node."""
    wanted = 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}'
    return installed.cluster.kubectl("get", "node", "cloud", "-o", wanted).strip()


@pytest.fixture(scope="module", autouse=True)
def allowed(installed: Trial, cloud: str) -> Iterator[None]:
    """The operator's Jobs may read from the cloud node. The store itself stays, with what it has."""
    kubectl, deployment = installed.cluster.kubectl, "deployment/edge-operator"
    pod = installed.get("deployment", "edge-operator", NAMESPACE)["spec"]["template"]["spec"]
    variables = {entry["name"]: entry.get("value", "") for entry in pod["containers"][0]["env"]}
    before = variables["EDGE_FETCHING"]
    fetching = json.loads(before) | {"allowInternal": [cloud], "plainHttp": [f"{cloud}:{REGISTRY_PORT}"]}
    try:
        kubectl("set", "env", "-n", NAMESPACE, deployment, f"EDGE_FETCHING={json.dumps(fetching)}")
        kubectl("rollout", "status", "-n", NAMESPACE, deployment, "--timeout=300s")
        yield
    finally:
        kubectl("set", "env", "-n", NAMESPACE, deployment, f"EDGE_FETCHING={before}")
        kubectl("rollout", "status", "-n", NAMESPACE, deployment, "--timeout=300s")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that pods of any user can read."""
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def secret(name: str, data: Mapping[str, str], kind: str = "Opaque") -> Document:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": meta, "stringData": dict(data)}


def service(name: str, uri: str, secret_name: str = "") -> Document:
    made = another_service(name)
    made["spec"]["model"] = {"storageUri": uri} | ({"secretName": secret_name} if secret_name else {})
    return made


def check_answered(trial: Trial, name: str, uri: str) -> None:
    """The service is Ready with the model of this address, and responds like the whole model."""
    ready = lambda: trial.condition(name, "Ready").get("status") == "True"  # noqa: E731
    trial.wait(f"{name} is Ready", ready, FETCHED)
    assert trial.condition(name, "ModelReady")["reason"] == "Fetched"
    assert trial.get("inferenceservice", name)["status"]["model"]["storageUri"] == uri
    answer = trial.ask(EDGE, service=name)
    expected = trial.whole(answer.parameters["exit"])
    np.testing.assert_allclose(answer.values, expected, rtol=1e-3, atol=1e-4)


def test_a_model_in_a_bucket_behind_a_secret(trial: Trial, cloud: str, folder: Path) -> None:
    prefix = trial.cluster.reach(NAMESPACE, "model-store").prefix
    with s3_server(folder / "s3", f"{cloud}:{S3_PORT}", prefix) as server:
        server.put("models/digits.onnx", trial.trained.onnx.read_bytes())
        uri = "s3://models/digits.onnx"
        with applied(trial, secret("bucket", server.credentials), service("from-s3", uri, "bucket")):
            check_answered(trial, "from-s3", uri)


def test_a_secret_that_is_missing_is_named_by_the_condition(trial: Trial) -> None:
    with applied(trial, service("from-none", "s3://models/digits.onnx", "missing")):
        failed = lambda: trial.condition("from-none", "ModelReady").get("reason") == "FetchFailed"  # noqa: E731
        trial.wait("the condition", failed, FETCHED)
        assert 'secret "missing" not found' in trial.condition("from-none", "ModelReady")["message"]


def test_a_model_in_an_image_of_a_registry(trial: Trial, cloud: str, folder: Path) -> None:
    with registry(folder / "registry") as local:
        local.push_image("digits:v1", [{"models/digits.onnx": trial.trained.onnx.read_bytes()}])
    address = f"{cloud}:{REGISTRY_PORT}"
    login = {"auths": {address: {"auth": base64.b64encode(b"reader:unused").decode()}}}
    logins = secret("registry", {".dockerconfigjson": json.dumps(login)}, "kubernetes.io/dockerconfigjson")
    uri = f"oci://{address}/digits:v1"
    prefix = trial.cluster.reach(NAMESPACE, "model-store").prefix
    with (
        registry(folder / "registry", address, prefix),
        applied(trial, logins, service("from-oci", uri, "registry")),
    ):
        check_answered(trial, "from-oci", uri)


def test_a_model_on_a_volume(trial: Trial, folder: Path) -> None:
    shutil.copy(trial.trained.onnx, folder / "digits.onnx")
    (folder / "digits.onnx").chmod(0o644)
    size, modes = {"storage": "1Gi"}, ["ReadOnlyMany"]
    at_cloud = [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["cloud"]}]
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "shelf"},
        "spec": {
            "capacity": size,
            "accessModes": modes,
            "storageClassName": "",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": at_cloud}]}},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shelf", "namespace": "default"},
        "spec": {
            "accessModes": modes,
            "storageClassName": "",
            "volumeName": "shelf",
            "resources": {"requests": size},
        },
    }
    uri = "pvc://shelf/digits.onnx"
    with applied(trial, volume, claim, service("from-volume", uri)):
        check_answered(trial, "from-volume", uri)
