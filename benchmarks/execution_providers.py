"""Compares the preferred execution provider with the CPU: results of a chain of convolutions, and its time.

    python -m testbed.openvino -m benchmarks.execution_providers

Prints one JSON object. Ends with status 1 if the provider is missing or a result differs by more than 1e-3.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

from edge_runtime.inference.sessions import Session, provider, provider_fallback
from edge_runtime.profiling import measure
from edge_runtime.slicing import Graph

_CLOSE = 1e-3
_SECONDS = 1.0


def chain(channels: int = 32, layers: int = 6) -> bytes:
    """Convolutions with activations between, on images of 64 x 64."""
    rng = np.random.default_rng(4)
    nodes, weights, before = [], [], "image"
    for number in range(layers):
        depth = channels if number else 3
        values = rng.normal(0, (2 / (9 * depth)) ** 0.5, (channels, depth, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        nodes.append(helper.make_node("Conv", [before, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        before = f"r{number}"
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["pooled"]))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", 1, ["N", 3, 64, 64])],
        [helper.make_tensor_value_info("pooled", 1, ["N", channels, 1, 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def main() -> int:
    """Returns the exit status."""
    data = chain()
    graph = Graph(data)
    ends = ["image"], ["pooled"]
    session = Session(graph.slice(*ends), *graph.contract(*ends))
    plain = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(5).normal(size=(1, 3, 64, 64)).astype(np.float32)
    feeds = {"image": image}
    found, right = session.run(feeds)[0], plain.run(None, feeds)[0]
    difference = float(np.abs(found - right).max())
    report = {
        "provider": provider().label,
        "fallback": provider_fallback(),
        "onnxruntime": onnxruntime.__version__,
        "difference": difference,
        "seconds": measure(lambda: session.run(feeds), _SECONDS).mean,
        "cpuSeconds": measure(lambda: plain.run(None, feeds), _SECONDS).mean,
    }
    print(json.dumps(report))
    return int(provider_fallback() or difference > _CLOSE)


if __name__ == "__main__":
    sys.exit(main())
