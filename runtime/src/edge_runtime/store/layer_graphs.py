"""The layers of a model and the tensors between them, for planners that look for cuts themselves."""

from __future__ import annotations

from typing import Any

from edge_planning.errors import BadValueError
from edge_planning.graphs.onnx_reading import read_graph
from edge_runtime.slicing import Graph


def layer_graph(graph: Graph) -> dict[str, Any]:
    """Returns the layers with their FLOPs, and the bytes of each tensor for one item, 0 if it cannot be sent.

    A layer also has the tensors whose sizes it is computed from: a slice needs them.
    A model that draws at random or whose layers cannot be read has no layers here: only the cuts of its
    metadata are used.
    """
    try:
        found = None if graph.draws else read_graph(graph.model, name="model")
    except BadValueError:
        found = None
    layers, tensors = (found.layers, found.tensors) if found is not None else ((), {})
    return {
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "inputs": list(dict.fromkeys([*layer.inputs, *graph.sources(layer.outputs, tensors)])),
                "outputs": list(layer.outputs),
                "flops": layer.flops,
            }
            for layer in layers
        ],
        "tensors": [
            {"name": name, "bytes": graph.sent_bytes(name) if tensor.crosses else 0}
            for name, tensor in tensors.items()
        ],
    }
