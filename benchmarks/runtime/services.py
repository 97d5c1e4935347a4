"""Measures the memory of one runtime by the number of its services.

Run alone: `.venv/bin/python -m benchmarks.runtime.services [--quick]`. Each service has a model of its own,
a small network of convolutions and dense layers, all local, from the cache on disk. `edge-runtime run` serves
them in one process; each gets 100 requests. `services` has, by their number, the proportional set size (PSS)
of the process in MB after that, and `ready`, the seconds from its start until all are ready. `each_more_mb`
is the slope between the least and the greatest number, `weights_mb` the size of one model.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.runtime.commands import Say, command
from benchmarks.runtime.peers import free_port
from edge_api.names import placement_name
from edge_runtime.slicing import Graph, digest_of

_NODE: Final = "edge-a"
_CHANNELS: Final = 16
_SIDE: Final = 28
_REQUESTS: Final = 100
_PATIENCE: Final = 300.0


def measure(folder: Path, say: Say, *, quick: bool) -> dict[str, object]:
    """Returns the figures of the module's docstring."""
    counts = (1, 3) if quick else (1, 5, 10, 20)
    models = [network(seed) for seed in range(counts[-1])]
    found: dict[int, dict[str, float]] = {}
    for count in counts:
        say(f"serving {count} services ...")
        found[count] = served(folder / str(count), models[:count])
    least, most = counts[0], counts[-1]
    slope = (found[most]["pss_mb"] - found[least]["pss_mb"]) / (most - least)
    return {
        "services": found,
        "each_more_mb": round(slope, 2),
        "weights_mb": round(len(models[0]) / 1e6, 2),
    }


def network(seed: int) -> bytes:
    """Returns a network of two convolutions and a dense layer, of about 0.5 MB."""
    rng = np.random.default_rng(seed)
    side, features = _SIDE // 2, _CHANNELS * (_SIDE // 2) ** 2
    weights = [
        numpy_helper.from_array(rng.normal(scale=0.1, size=shape).astype(np.float32), name)
        for name, shape in (
            ("w1", (_CHANNELS, 1, 3, 3)),
            ("w2", (_CHANNELS, _CHANNELS, 3, 3)),
            ("dense", (features, 40)),
        )
    ]
    assert features == _CHANNELS * side * side
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"]),
    ]
    ends: list[tuple[str, list[str | int | None]]] = [
        ("image", ["N", 1, _SIDE, _SIDE]),
        ("logits", ["N", 40]),
    ]
    image, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends)
    graph = helper.make_graph(nodes, "small", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def served(folder: Path, models: Sequence[bytes]) -> dict[str, float]:
    """Serves one service for each model in a process of its own; returns `pss_mb` and `ready`."""
    (folder / "cache" / "slices").mkdir(parents=True)
    placements = []
    for number, model in enumerate(models):
        (folder / "cache" / "slices" / digest_of(model).removeprefix("sha256:")).write_bytes(model)
        placements.append(_placement(f"service-{number}", model))
    file = folder / "placements.yaml"
    file.write_text("\n---\n".join(map(json.dumps, placements)))
    port = free_port()
    named = {"namespace": "default", "node": _NODE, "store": "http://127.0.0.1:9", "host": "127.0.0.1"}
    named |= {"http-port": str(port), "grpc-port": "0", "threads": "1"}
    named |= {"cache-dir": str(folder / "cache"), "placement-file": str(file)}
    argv = [sys.executable, "-m", "edge_runtime.cli", "run", *(f"--{k}={v}" for k, v in named.items())]
    begun = time.monotonic()
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            while not _ready(port):
                if process.poll() is not None or time.monotonic() - begun > _PATIENCE:
                    raise RuntimeError(f"the runtime of {len(models)} services did not become ready")
                time.sleep(0.1)
            ready = time.monotonic() - begun
            values = [0.5] * _SIDE * _SIDE
            given = {"name": "image", "shape": [1, 1, _SIDE, _SIDE], "datatype": "FP32", "data": values}
            body = json.dumps({"inputs": [given]}).encode()
            for _ in range(_REQUESTS):
                for placement in placements:
                    _infer(port, placement["spec"]["service"], body)
            return {"pss_mb": round(_pss(process.pid) / 1e6, 1), "ready": round(ready, 1)}
        finally:
            process.terminate()


def _placement(service: str, model: bytes) -> dict[str, Any]:
    inputs, outputs = Graph(model).contract(["image"], ["logits"])
    ends = {"inputs": [t.document() for t in inputs], "outputs": [t.document() for t in outputs]}
    digest = digest_of(model)
    route = {
        "name": "final@local",
        "exit": "final",
        "cut": "local",
        "accuracy": 0.97,
        "minBandwidth": "0",
        "predictedLatency": "5ms",
        "stages": [{"place": _NODE, "runtime": "Edge", "slice": {"digest": digest, **ends}}],
    }
    return {
        "metadata": {"name": placement_name(service, _NODE), "namespace": "default"},
        "spec": {
            "service": service,
            "node": _NODE,
            "model": {"digest": digest, "inputs": ends["inputs"], "outputs": ends["outputs"]},
            "slo": {"latency": "10s"},
            "routes": [route],
        },
    }


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _infer(port: int, service: str, body: bytes) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/{service}/infer", body)
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()


def _pss(pid: int) -> int:
    """The proportional set size of a process in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(command("services", __doc__, measure))
