"""Tables of dense layers for a node without a cluster: slices, Placements and their runtime."""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.assignment import Placement, parse_placement
from edge_runtime.connections import Resolver
from edge_runtime.dataplane import Dataplane
from edge_runtime.inference.memory import UNLIMITED, Memory
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader

WIDTH: Final = 256
HEAVY: Final = (1024, 13)  # width and layers: 48 MB
_LAYERS: Final = 8
_NOWHERE: Final = "http://127.0.0.1:9"


def network(seed: int, hidden: int = WIDTH, layers: int = _LAYERS) -> bytes:
    """Dense layers, [N, 256] -> [N, 10]; about a tenth of a millisecond by default."""
    rng = np.random.default_rng(seed)
    nodes, weights, before = [], [], "x"
    widths = [WIDTH, *[hidden] * (layers - 1), 10]
    for i, size in enumerate(pairwise(widths)):
        values = rng.normal(scale=0.06, size=size).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        after = "y" if i == layers - 1 else f"h{i}"
        nodes.append(helper.make_node("MatMul", [before, f"w{i}"], [after]))
        before = after
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def put(folder: Path, data: bytes) -> dict[str, Any]:
    """Puts a slice into the node's cache; returns its reference for a Placement."""
    digest = hashlib.sha256(data).hexdigest()
    (folder / "slices").mkdir(parents=True, exist_ok=True)
    (folder / "slices" / digest).write_bytes(data)
    return {
        "digest": f"sha256:{digest}",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, WIDTH]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}],
    }


def document(generation: int, *routes: dict[str, Any], probe: str = _NOWHERE) -> dict[str, Any]:
    """Returns a Placement of these routes, first to last, as a Kubernetes object."""
    interval = "1h" if probe == _NOWHERE else "200ms"
    last = routes[-1]["stages"][0]["slice"]
    spec = {
        "service": "bench",
        "node": "here",
        "mode": "Auto",
        "model": {"digest": last["digest"], "inputs": last["inputs"], "outputs": last["outputs"]},
        "slo": {"latency": "1s"},
        "routes": list(routes),
        "link": {"peer": "cloud", "probe": probe, "interval": interval, "budget": "1Gi"},
    }
    return {"metadata": {"name": "bench-here", "generation": generation}, "spec": spec}


def placement(generation: int, *routes: dict[str, Any], probe: str = _NOWHERE) -> Placement:
    """Returns a Placement of these routes, first to last."""
    return parse_placement(document(generation, *routes, probe=probe))


def route(name: str, slice_: dict[str, Any], need: str = "0", far: str = "") -> dict[str, Any]:
    """Returns a local route, or with `far` one across the link; `need` is its minimum bandwidth."""
    stage: dict[str, Any] = {"place": "here", "runtime": "Edge", "slice": slice_}
    if far:
        stage = {"place": "cloud", "runtime": "Triton", "slice": slice_, "address": far, "model": "m"}
    return {
        "name": name,
        "exit": name,
        "cut": "x" if far else "local",
        "accuracy": 0.9,
        "minBandwidth": need,
        "predictedLatency": "10ms",
        "stages": [stage],
    }


def dataplane(
    folder: Path, memory: Memory = UNLIMITED, metrics: Metrics | None = None
) -> tuple[Dataplane, Generations, ModelStore]:
    """Returns one whose generations find their slices in the folder, with an unreachable store."""
    resolver = Resolver()
    store = ModelStore(_NOWHERE, resolver)
    cache = SliceCache(folder / "slices", store)
    metrics = metrics or Metrics("bench")
    generations = Generations(metrics, NodeResources(SliceLoader(cache, None, memory=memory), resolver))
    return Dataplane(generations, metrics), generations, store
