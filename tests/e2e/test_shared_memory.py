"""A camera's pod passes a frame to the runtime of its node in shared memory; both pods are `restricted`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from trials import GATEWAY, Trial

NAME, POOL, CLASS, NAMESPACE = "frames", "factory", "gateway", "default"
USER = 65532  # of runtimes, whose files are not copied

CAMERA = """
import json, math, struct, urllib.request
runtime = "http://edge-runtime-GATEWAY.default.svc.cluster.local:8080"

def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(runtime + path, data, {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(asked, timeout=30).read() or b"null")

(taken,) = ask("/v2/models/digits")["inputs"]
shape = [1, *taken["shape"][1:]]
values = [(i % 255) / 255 for i in range(math.prod(shape))]
frame = struct.pack(f"<{len(values)}f", *values)
open("/frames/frame", "wb").write(frame)
ask("/v2/systemsharedmemory/unregister", {})
ask("/v2/systemsharedmemory/region/frame/register", {"key": "/frame", "offset": 0, "byte_size": len(frame)})
shared = {"shared_memory_region": "frame", "shared_memory_byte_size": len(frame)}
tensor = {"name": taken["name"], "shape": shape, "datatype": "FP32"}
found = [
    ask("/v2/models/digits/infer", {"inputs": [tensor | how]})["outputs"][0]["data"]
    for how in ({"parameters": shared}, {"data": values})
]
print(json.dumps(found))
"""
OPEN = "import os; os.chmod('/frames', 0o1777)"
"""What the platform team does once on each node: the kubelet makes the folder for root alone."""


def storage() -> list[dict[str, Any]]:
    """A volume in the node's memory, and the claim of the namespace."""
    size = {"storage": "16Mi"}
    shared = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = shared | {
        "capacity": size,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/dev/shm/{NAME}", "type": "DirectoryOrCreate"},
        "claimRef": {"namespace": NAMESPACE, "name": NAME},
    }
    claim = shared | {"volumeName": NAME, "resources": {"requests": size}}
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": NAME}, "spec": volume},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim},
    ]


def pod(name: str, image: str, program: str, user: int) -> dict[str, Any]:
    """A pod on the gateway that runs a program with the volume; `restricted` unless it runs as root."""
    container = {
        "name": name,
        "image": image,
        "command": ["python", "-c", program],
        "volumeMounts": [{"name": "frames", "mountPath": "/frames"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if not user:
        del container["securityContext"]
    context: dict[str, Any] = {"runAsUser": user, "runAsGroup": user, "runAsNonRoot": bool(user)}
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": GATEWAY},
        "restartPolicy": "Never",
        "securityContext": context | {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "frames", "persistentVolumeClaim": {"claimName": NAME}}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def completed(trial: Trial, body: dict[str, Any]) -> str:
    """What a pod prints that runs to its end."""
    name = body["metadata"]["name"]
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(body))
    ends = ("Succeeded", "Failed")
    trial.wait(f"the end of pod {name}", lambda: trial.get("pod", name)["status"].get("phase") in ends, 120)
    said = trial.cluster.kubectl("logs", name, "-n", NAMESPACE)
    assert trial.get("pod", name)["status"]["phase"] == "Succeeded", said
    return said


def share(trial: Trial, shared: dict[str, Any] | None) -> None:
    groups = trial.get("devicepool", POOL)["spec"]["nodes"]
    for group in groups:
        if group["deviceClass"] == CLASS:
            group.pop("sharedMemory", None)
            if shared is not None:
                group["sharedMemory"] = shared
    patch = json.dumps({"spec": {"nodes": groups}})
    trial.cluster.kubectl("patch", "devicepool", POOL, "--type=merge", "-p", patch)


def runtime(trial: Trial) -> dict[str, Any]:
    return trial.get("deployment", f"edge-runtime-{GATEWAY}")


def replaced(trial: Trial, *, mounts: bool) -> bool:
    """Whether the only pod of the runtime has the claim, or has it no more, and is ready."""
    found = runtime(trial)
    volumes = found["spec"]["template"]["spec"]["volumes"]
    status, current = found.get("status", {}), found["metadata"]["generation"]
    settled = status.get("observedGeneration") == current and status.get("replicas") == 1
    settled = settled and status.get("updatedReplicas") == status.get("readyReplicas") == 1
    return settled and any("persistentVolumeClaim" in volume for volume in volumes) is mounts


@pytest.fixture
def image(trial: Trial) -> Iterator[str]:
    """The gateways share memory with pods of the namespace. Returns the image of runtimes."""
    found: str = runtime(trial)["spec"]["template"]["spec"]["containers"][0]["image"]
    kubectl = trial.cluster.kubectl
    kubectl("apply", "-f", "-", text=yaml.safe_dump_all(storage()))
    try:
        completed(trial, pod("folder", found, OPEN, 0))
        share(trial, {"claimName": NAME, "namespaces": [NAMESPACE]})
        trial.wait("runtimes with the claim", lambda: replaced(trial, mounts=True), 300)
        yield found
    finally:
        share(trial, None)
        trial.wait("runtimes without the claim", lambda: replaced(trial, mounts=False), 300)
        for kind, name in (("pod", "folder"), ("pod", "camera"), ("pvc", NAME), ("pv", NAME)):
            kubectl("delete", kind, name, "--ignore-not-found", "--timeout=60s")


def test_a_pod_on_the_node_passes_a_frame_without_sending_it(trial: Trial, image: str) -> None:
    said = completed(trial, pod("camera", image, CAMERA.replace("GATEWAY", GATEWAY), USER))
    by_region, by_value = json.loads(said.strip().splitlines()[-1])
    assert by_region == by_value
