"""The nodes of a graph, those in the graphs inside them too, and which of them draw at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from onnx import AttributeProto, GraphProto, NodeProto

# These draw again each time that they run: a second copy would draw something else.
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
    """The graphs inside a node."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def everywhere(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes and those inside them, however deep."""
    for node in nodes:
        yield node
        for body in bodies(node):
            yield from everywhere(body.node)


def is_random(node: NodeProto) -> bool:
    """Whether the node itself draws: what it calls or contains is not looked at."""
    return node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.input) > 2)
