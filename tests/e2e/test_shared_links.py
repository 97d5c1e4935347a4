"""A node and a Triton server are one link: of the runtimes of several namespaces, one measures it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from demo import installation
from edge_api.told_links import LINKS_ANNOTATION
from trials import READ, Trial, another_service

pytestmark = pytest.mark.extended

NODE, TENANT, SERVICE = "edge-a", "second-tenant", "second"


def manifest(**spec: Any) -> dict[str, Any]:
    """A service of another namespace with the example's model, on the same pool."""
    body = another_service(SERVICE)
    body["metadata"]["namespace"] = TENANT
    body["spec"] |= {"entryNodes": {"nodeSelector": {"kubernetes.io/hostname": NODE}}, **spec}
    return body


def told(trial: Trial, name: str, namespace: str) -> dict[str, Any]:
    """What the annotation of a Placement says of the link to Triton; empty without one."""
    annotations = trial.get("placement", name, namespace)["metadata"].get("annotations", {})
    found: dict[str, Any] = json.loads(annotations.get(LINKS_ANNOTATION, "{}")).get("cloud", {})
    return found


def measured(trial: Trial) -> dict[str, str | None]:
    """Who measures the link of the node, by namespace."""
    placements = {"default": f"digits.{NODE}", TENANT: f"{SERVICE}.{NODE}"}
    return {namespace: told(trial, name, namespace).get("measured") for namespace, name in placements.items()}


def probe_bytes(trial: Trial, namespace: str) -> float:
    """Bytes of probes that the namespace's runtime at the node has sent."""
    entrance = trial.cluster.reach(namespace, f"edge-runtime-{NODE}")
    url = f"http://{entrance.host}:{entrance.http}/metrics"
    argv = [*entrance.prefix, sys.executable, "-c", READ, url]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    sizes = re.findall(r'^edge_probe_bytes_total\{[^}]*peer="cloud"[^}]*\} (\S+)$', text, re.MULTILINE)
    return sum(map(float, sizes))


@pytest.fixture
def tenants(trial: Trial) -> Iterator[Trial]:
    """Two namespaces whose runtimes use the link of one node."""
    kubectl = trial.cluster.kubectl
    kubectl("create", "namespace", TENANT)
    try:
        installation.upload(trial.cluster, trial.trained.onnx, namespace=TENANT)
        kubectl("apply", "-f", "-", text=json.dumps(manifest()))

        def ready() -> bool:
            return trial.condition(SERVICE, "Ready", TENANT).get("status") == "True"

        trial.wait("Ready of the other namespace's service", ready)
        yield trial
    finally:
        kubectl("delete", "inferenceservice", SERVICE, "-n", TENANT, "--wait", "--timeout=120s")
        kubectl("delete", "namespace", TENANT, "--wait", "--timeout=120s")


def test_one_runtime_of_a_node_probes_and_the_others_receive_its_values(tenants: Trial) -> None:
    both = {"default": "Here", TENANT: "Elsewhere"}
    tenants.wait("one runtime that measures", lambda: measured(tenants) == both)
    generation = tenants.get("placement", f"{SERVICE}.{NODE}", TENANT)["metadata"]["generation"]
    start = probe_bytes(tenants, "default")
    quiet = probe_bytes(tenants, TENANT)
    tenants.wait("probes of the runtime that measures", lambda: probe_bytes(tenants, "default") > start)
    tenants.wait("more of them", lambda: probe_bytes(tenants, "default") > start + 3 * 8192)
    assert probe_bytes(tenants, TENANT) == quiet
    tenants.cluster.set_links(2e6)

    def slow(link: dict[str, Any]) -> bool:
        return bool(re.fullmatch(r"[0-9]+k|[1-3](\.[0-9]+)?M", link.get("bandwidth", "")))

    tenants.wait("the value of the slow link", lambda: slow(told(tenants, f"{SERVICE}.{NODE}", TENANT)))
    reported = tenants.get("placement", f"{SERVICE}.{NODE}", TENANT)
    assert reported["metadata"]["generation"] == generation, "routes are not loaded again for a value"


def test_the_measurement_moves_when_its_runtime_goes(tenants: Trial) -> None:
    tenants.wait("one runtime that measures", lambda: measured(tenants)["default"] == "Here")
    kubectl = tenants.cluster.kubectl
    kubectl("cordon", NODE)
    try:
        label = f"edge-intelligence.io/runtime=edge-runtime-{NODE}"
        kubectl("delete", "pod", "-n", "default", "-l", label, "--force", "--grace-period=0")
        moved = {"default": "Elsewhere", TENANT: "Here"}
        tenants.wait("the other runtime measures", lambda: measured(tenants) == moved)
        before = probe_bytes(tenants, TENANT)
        tenants.wait("its probes", lambda: probe_bytes(tenants, TENANT) > before)
    finally:
        kubectl("uncordon", NODE)
