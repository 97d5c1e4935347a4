"""The range of integer inputs that are indices, such as token ids: what the operators that read them take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto

from edge_runtime.graph_analysis.nodes import everywhere

# Operators whose output has the values of their first input.
_SAME_VALUES: Final = frozenset(
    ["Cast", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"]
)
_GATHERS: Final = frozenset(["Gather", "GatherElements"])
# Microsoft's fused embedding: its ids, each with the table that they index.
_EMBEDDING: Final = {0: 2, 1: 4}


def index_ranges(model: ModelProto) -> dict[str, int]:
    """The number of values, from 0, that each input can have which is an index into constants.

    Inputs are followed through operators that keep their values. The smallest table counts. An input that
    indexes nothing, or a table of unknown size, is left out.
    """
    graph = model.graph
    tables = _tables(graph)
    sources = {value.name: value.name for value in graph.input if value.name not in tables}
    found: dict[str, int] = {}
    for node in everywhere(graph.node):
        if node.op_type in _SAME_VALUES and node.input and node.input[0] in sources:
            sources[node.output[0]] = sources[node.input[0]]
        for table, indices, axis in _lookups(node):
            shape, source = tables.get(table), sources.get(indices)
            if shape is None or source is None or not -len(shape) <= axis < len(shape):
                continue
            found[source] = min(found.get(source, shape[axis]), shape[axis])
    return {name: size for name, size in found.items() if size > 0}


def _tables(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                shapes[node.output[0]] = tuple(attribute.t.dims)
    return shapes


def _lookups(node: NodeProto) -> Iterable[tuple[str, str, int]]:
    """The table, the indices and the axis of each look-up of a node."""
    if node.op_type in _GATHERS and len(node.input) > 1:
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        return [(node.input[0], node.input[1], axis)]
    if node.op_type == "EmbedLayerNormalization":
        inputs = list(node.input)
        return [(inputs[t], inputs[i], 0) for i, t in _EMBEDDING.items() if t < len(inputs) and inputs[t]]
    return []
