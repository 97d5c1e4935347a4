"""Topological order of nodes. onnxruntime sorts the nodes of a file; the code here reads them in order."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from onnx import ModelProto, NodeProto

from edge_runtime.errors import NotOnnx
from edge_runtime.slicing.reading import reads

_SHOWN: Final = 4


def put_in_order(model: ModelProto) -> None:
    """Sorts the nodes of the graph if necessary. Like onnxruntime, it does not sort those of subgraphs.

    Raises NotOnnx for a cycle.
    """
    nodes = model.graph.node
    order = order_of(nodes)
    if len(order) < len(nodes):
        left = set(range(len(nodes))) - set(order)
        shown = ", ".join(nodes[i].name or nodes[i].output[0] for i in sorted(left)[:_SHOWN])
        raise NotOnnx(f"model: the graph has a cycle among or before the nodes {shown}: export it again")
    if order != list(range(len(nodes))):
        # Copies: removing a message from its field frees it.
        kept = [NodeProto.FromString(nodes[i].SerializeToString()) for i in order]
        del nodes[:]
        nodes.extend(kept)


def order_of(nodes: Sequence[NodeProto]) -> list[int]:
    """Indices of the nodes in topological order; ties keep the order of the file.

    Nodes on a cycle and behind one are missing.
    """
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    before = [{maker[name] for name in reads(node) if name in maker} for node in nodes]
    if all(i > max(sources, default=-1) for i, sources in enumerate(before)):
        return list(range(len(nodes)))
    after: list[list[int]] = [[] for _ in nodes]
    for i, sources in enumerate(before):
        for source in sources:
            after[source].append(i)
    missing = [len(sources) for sources in before]
    ready = [i for i, count in enumerate(missing) if not count]  # sorted, so a heap
    found = []
    while ready:
        i = heappop(ready)
        found.append(i)
        for reader in after[i]:
            missing[reader] -= 1
            if not missing[reader]:
                heappush(ready, reader)
    return found
