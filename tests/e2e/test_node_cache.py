"""With the cache of nodes, a new pod reads its slices from the node's disk instead of over the link."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo import installation
from demo.installation import NAMESPACE, STORE_AUDIENCE
from trials import GATEWAY, Trial

pytestmark = pytest.mark.extended

ROLLED_OUT = 240.0  # seconds until a rollout to all nodes is given up
ENABLED = (
    "nodeCache.enabled=true",
    r"nodeCache.nodeSelector.edge-intelligence\.io/tier=edge",
    "nodeCache.keepFree=1Mi",  # the disk is that of the machine
)
VARIABLE = "EDGE_NODE_CACHE"
READ = """
import hashlib, json, pathlib, socket, ssl, sys, http.client
address, name, folder, path = sys.argv[1:]
context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
wrapped = context.wrap_socket(socket.create_connection((address, 8080), timeout=60), server_hostname=name)
connection = http.client.HTTPConnection(name)
connection.sock = wrapped
connection.request("GET", path, headers={"Authorization": f"Bearer {sys.stdin.read()}"})
response = connection.getresponse()
print(json.dumps([response.status, hashlib.sha256(response.read()).hexdigest()]))
"""


def environment(trial: Trial, node: str = GATEWAY) -> dict[str, str]:
    """Variables of the runtime at a node, in the pod that is Ready, if it is the only one."""
    selector = f"edge-intelligence.io/node={node},app.kubernetes.io/component=runtime"
    pods = json.loads(trial.cluster.kubectl("get", "pods", "-n", "default", "-l", selector, "-o", "json"))
    if len(pods["items"]) != 1 or not is_ready(pods["items"][0]):
        return {"": "not ready"}
    container = pods["items"][0]["spec"]["containers"][0]
    return {each["name"]: each.get("value", "") for each in container.get("env", ())}


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def runtime_pod(trial: Trial) -> str:
    selector = f"edge-intelligence.io/node={GATEWAY},app.kubernetes.io/component=runtime"
    return trial.cluster.kubectl("get", "pods", "-n", "default", "-l", selector, "-o", "name").strip()


def replace_runtime(trial: Trial) -> None:
    """Deletes the gateway's pod, and waits for a new one that is Ready."""
    old = runtime_pod(trial)
    trial.cluster.kubectl("delete", old, "-n", "default", "--wait=true")
    trial.wait("a new pod", lambda: runtime_pod(trial) != old and "" not in environment(trial))


def agent(trial: Trial, node: str) -> dict[str, float]:
    """The metrics of a node's agent, by name with labels."""
    selector = ("-l", "app.kubernetes.io/name=edge-node-cache", "-n", NAMESPACE, "-o", "json")
    pods = json.loads(trial.cluster.kubectl("get", "pods", *selector))["items"]
    (name,) = [pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == node]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:8082/proxy/metrics"
    lines = trial.cluster.kubectl("get", "--raw", path).splitlines()
    return {line.split()[0]: float(line.split()[-1]) for line in lines if line.startswith("edge_node_cache")}


def requests(found: dict[str, float], result: str) -> float:
    return found[f'edge_node_cache_requests_total{{result="{result}"}}']


def digests(trial: Trial) -> set[str]:
    """The slices of the gateway's routes that run on the gateway."""
    placement = trial.placements()[GATEWAY]
    return {
        stage["slice"]["digest"]
        for route in placement["spec"]["routes"]
        for stage in route["stages"]
        if stage["runtime"] == "Edge" and not stage.get("address")
    }


def scale_store(trial: Trial, replicas: int) -> None:
    trial.cluster.kubectl("scale", "deployment/model-store", "-n", NAMESPACE, f"--replicas={replicas}")
    selector = ("-l", "app.kubernetes.io/name=model-store", "-n", NAMESPACE, "-o", "json")

    def scaled() -> bool:
        pods = json.loads(trial.cluster.kubectl("get", "pods", *selector))["items"]
        return len(pods) == replicas and all(map(is_ready, pods))

    trial.wait(f"{replicas} pods of the model store", scaled)


def read(trial: Trial, folder: Path, digest: str, namespace: str) -> tuple[int, str]:
    """Status, and SHA-256 of the body, of a request to the agent of the gateway with a namespace's token."""
    token = trial.cluster.kubectl("create", "token", "default", "-n", namespace, "--audience", STORE_AUDIENCE)
    entrance = trial.cluster.entrance(GATEWAY, NAMESPACE, "edge-node-cache")
    name = f"edge-node-cache.{NAMESPACE}.svc"
    argv = [*entrance.prefix, sys.executable, "-c", READ, entrance.host, name, str(folder)]
    done = subprocess.run(
        [*argv, f"/v1/blobs/{digest}"],
        input=token.strip(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{trial.state()}"
    status, found = json.loads(done.stdout)
    return status, found


@pytest.fixture(scope="module")
def with_cache(installed: Trial) -> Iterator[Trial]:
    """The example on runtimes that use the caches of their nodes."""

    def rolled_out(*, cached: bool) -> bool:
        found = [environment(installed, node) for node in installed.placements()]
        return all("" not in each and (VARIABLE in each) == cached for each in found)

    with installed.unlimited():
        try:
            installation.install(installed.cluster, installed.root, *ENABLED)
            installed.wait("runtimes with a cache", lambda: rolled_out(cached=True), ROLLED_OUT)
            replace_runtime(installed)  # the first could start before the agent of its node
            yield installed
        finally:
            installation.install(installed.cluster, installed.root)
            installed.wait("runtimes without a cache", lambda: rolled_out(cached=False), ROLLED_OUT)


@pytest.fixture
def cached(with_cache: Trial, trial: Trial) -> Trial:
    return trial


def test_a_new_pod_answers_with_slices_of_the_nodes_disk_while_the_store_is_away(cached: Trial) -> None:
    trial, before = cached, agent(cached, GATEWAY)
    assert requests(before, "miss") >= 1, before
    assert before['edge_node_cache_bytes_total{source="store"}'] > 0
    try:
        scale_store(trial, 0)
        replace_runtime(trial)
        answer = trial.ask(GATEWAY)
        after = agent(trial, GATEWAY)
    finally:
        scale_store(trial, 1)
        installation.upload(trial.cluster, trial.trained.onnx)  # the store has no persistent volume
    whole = trial.whole(answer.parameters["exit"])
    np.testing.assert_allclose(answer.values, whole, rtol=1e-3, atol=1e-4)
    assert requests(after, "hit") > requests(before, "hit"), after
    assert requests(after, "miss") == requests(before, "miss")
    fetched = {line.split()[0]: float(line.split()[-1]) for line in trial.metrics(GATEWAY)}
    assert fetched['edge_slice_fetches_total{service="",source="node-cache"}'] >= 1, fetched
    assert fetched['edge_slice_fetches_total{service="",source="model-store"}'] == 0, fetched
    assert fetched['edge_slice_fetch_failures_total{service=""}'] == 0, fetched


def test_another_namespace_is_refused_the_slices_that_the_node_has(cached: Trial, tmp_path: Path) -> None:
    trial, folder = cached, tmp_path
    for name, text in trial.get("secret", "edge-runtime-tls")["data"].items():  # agents require certificates
        (folder / name).write_bytes(base64.b64decode(text))
    digest = min(digests(trial))
    before, elsewhere = agent(trial, GATEWAY), agent(trial, "edge-b")
    assert read(trial, folder, digest, "default") == (200, digest.removeprefix("sha256:"))
    assert read(trial, folder, digest, "kube-public")[0] == 404
    after = agent(trial, GATEWAY)
    assert requests(after, "hit") == requests(before, "hit") + 1
    assert requests(after, "refused") == requests(before, "refused") + 1
    assert agent(trial, "edge-b") == elsewhere  # the Service leads to the agent of the caller's node
