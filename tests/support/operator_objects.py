"""Objects of the operator's tests: a service, a pool of two cameras and a gateway, and a profiled model."""

from typing import Any

from edge_operator.cluster import Object
from edge_operator.keys import ServiceKey
from edge_operator.store_answers import DeviceProfile, ModelCard

KEY = ServiceKey("default", "digits")
DIGEST = "sha256:" + "ab" * 32
TRITON = "triton.test:8000"


def service_body(**spec: Any) -> Object:
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": KEY.name, "namespace": KEY.namespace},
        "spec": {
            "model": {"storageUri": "store://digits/digits.onnx"},
            "slo": {"latency": "90ms", "percentile": 95, "objective": 0.95},
            "devicePool": "factory",
            "mode": "Auto",
        }
        | spec,
    }


def pool_body() -> Object:
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "DevicePool",
        "metadata": {"name": "factory"},
        "spec": {
            "nodes": [
                {"tier": "Edge", "deviceClass": "gateway", "nodeSelector": {"class": "gateway"}},
                {"tier": "Edge", "deviceClass": "camera", "nodeSelector": {"class": "camera"}},
            ],
            "tritonServers": [
                {
                    "name": "cloud",
                    "httpAddress": TRITON,
                    "deviceClass": "cloud",
                    "backend": "python",
                    "nodeSelector": {"class": "cloud"},
                }
            ],
            "links": {"probeInterval": "2s"},
        },
    }


def rolled_out(deployment: Object) -> Object:
    """The Deployment with one ready pod, of its newest version."""
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), 1)
    return deployment | {"status": {"observedGeneration": deployment["metadata"]["generation"], **counts}}


def node_body(name: str, device_class: str, *, ready: bool = True) -> Object:
    condition = {
        "type": "Ready",
        "status": "True" if ready else "Unknown",
        "message": "Kubelet stopped posting",
    }
    labels = {"kubernetes.io/hostname": name, "class": device_class}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [condition]},
    }


CARD = ModelCard.model_validate(
    {
        "digest": DIGEST,
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 64, 64]}],
        "exits": [
            {
                "name": "exit1",
                "outputs": ["exit1_logits"],
                "accuracy": 0.86,
                "tensors": [{"name": "exit1_logits", "datatype": "FP32", "shape": [-1, 10]}],
                "cuts": [{"tensor": "image", "bytes": 16384}, {"tensor": "pool1", "bytes": 4096}],
            },
            {
                "name": "final",
                "outputs": ["logits"],
                "accuracy": 0.98,
                "tensors": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
                "cuts": [
                    {"tensor": "image", "bytes": 16384},
                    {"tensor": "pool1", "bytes": 4096},
                    {"tensor": "pool2", "bytes": 1024},
                ],
            },
        ],
    }
)
_SEGMENTS = {
    ("image", "pool1"): 0.02,
    ("pool1", "exit1_logits"): 0.01,
    ("pool1", "pool2"): 0.05,
    ("pool2", "logits"): 0.05,
}


def device_profile(device_class: str, scale: float = 1.0) -> DeviceProfile:
    """A class `scale` times as slow as a camera, on which the full model takes 120 ms and exit1 30 ms."""
    segments = [
        {"from": a, "to": b, "mean_seconds": s * scale, "p95_seconds": s * scale, "runs": 50}
        for (a, b), s in _SEGMENTS.items()
    ]
    exits = [
        {"exit": "exit1", "mean_seconds": 0.03 * scale, "p95_seconds": 0.03 * scale, "runs": 50},
        {"exit": "final", "mean_seconds": 0.12 * scale, "p95_seconds": 0.12 * scale, "runs": 50},
    ]
    return DeviceProfile.model_validate(
        {
            "model": DIGEST,
            "deviceClass": device_class,
            "node": "somewhere",
            "segments": segments,
            "exits": exits,
        }
    )
