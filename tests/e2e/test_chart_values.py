"""The API server accepts every object of the chart, whatever the values."""

import json
from collections.abc import Iterator

import pytest
import yaml

from demo.installation import CHART
from trials import Trial

CRDS_LEFT_OUT = "crds.enabled=false"
PREFERRED = "operator.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]"
KEY = "preference.matchExpressions[0]"
MATRIX = {
    "defaults": (),
    "without TLS, tokens, policies and classes": (
        CRDS_LEFT_OUT,
        "tls.mode=Disabled",
        "store.tokens=false",
        "networkPolicies.enabled=false",
        "priorityClasses.create=false",
        "store.fetching.enabled=false",
    ),
    "given certificates": (
        CRDS_LEFT_OUT,
        "tls.mode=Secrets",
        "operator.tlsSecret=edge-operator",
        "runtime.tlsSecret=edge-runtimes",
        "store.tlsSecret=edge-store",
    ),
    "one namespace, replicas, roles": (
        CRDS_LEFT_OUT,
        "operator.watchNamespace=default",
        "operator.replicas=3",
        "runtime.statusRights=Roles",
        "operator.tritonControlSecrets={one,two}",
        "operator.logFormat=json",
    ),
    "volumes, places, mirrors": (
        CRDS_LEFT_OUT,
        "store.persistence.enabled=true",
        "store.persistence.storageClass=fast",
        "store.sharedFolders[0].path=/models",
        "store.sharedFolders[0].volume.nfs.server=nas",
        "store.sharedFolders[0].volume.nfs.path=/exported",
        "store.nodeSelector.disk=ssd",
        "operator.tolerations=null",
        *(f"{PREFERRED}.{value}" for value in ("weight=1", f"{KEY}.key=disk", f"{KEY}.operator=Exists")),
        "global.imageRegistry=registry.example.com/mirror",
        f"runtime.image.digest=sha256:{'a' * 64}",
        "imagePullSecrets={registry}",
        "store.priorityClassName=system-cluster-critical",
    ),
    "Triton, traces, named clients": (
        CRDS_LEFT_OUT,
        "triton.enabled=true",
        "triton.gpus=1",
        "triton.runtimeClassName=nvidia",
        "tracing.endpoint=http://collector:4318",
        "runtime.grpc.grpc-keepalive-time=60000",
        "networkPolicies.clients[0].ipBlock.cidr=10.20.0.0/16",
        "networkPolicies.uploads[0].podSelector.matchLabels.app=ci",
        "networkPolicies.metrics[0].namespaceSelector.matchLabels.name=monitoring",
    ),
}


@pytest.fixture(scope="module")
def empty(installed: Trial) -> Iterator[str]:
    """A namespace without objects of a release, with which those that are applied would be merged."""
    name = "chart-values"
    installed.cluster.kubectl("create", "namespace", name)
    yield name
    installed.cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize("name", MATRIX)
def test_the_api_server_accepts_every_object(installed: Trial, empty: str, name: str) -> None:
    cluster = installed.cluster
    given = [word for value in MATRIX[name] for word in ("--set", value)]
    chart = str(installed.root / CHART)
    # `helm template` does not connect to the cluster.
    version = json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    rendered = cluster.helm(
        *("template", "edge-intelligence", chart, "--namespace", empty, "--kube-version", version), *given
    )
    objects = [body for body in yaml.safe_load_all(rendered) if body]
    for body in objects:
        if body["kind"] == "Pod":  # of `helm test`, which makes what it names first
            for field in ("serviceAccountName", "priorityClassName"):
                body["spec"].pop(field, None)
    said = cluster.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-o", "name", "-f", "-"),
        text=yaml.safe_dump_all(objects),
    )
    assert len(said.splitlines()) == len(objects)
