"""The nodes of a graph and of its subgraphs, and which of them draw random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from onnx import AttributeProto, GraphProto, NodeProto

# These draw again on each run: a second copy would draw other numbers.
RANDOM: Final = frozenset(
    [
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    ]
)


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """The subgraphs of a node."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def everywhere(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes and all nodes in their subgraphs."""
    for node in nodes:
        yield node
        for body in bodies(node):
            yield from everywhere(body.node)


def is_random(node: NodeProto) -> bool:
    """Whether the node itself draws random numbers; functions and subgraphs are not inspected."""
    return node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.input) > 2)
