"""Slices of a graph: which layers they hold, what enters and leaves them, and the memory they need."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from edge_planning.errors import require
from edge_planning.graphs.values import Graph


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a slice needs: its parameters, and its activations at the moment when most are alive."""

    parameters: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.activations


def layers_between(graph: Graph, starts: Collection[str], ends: Collection[str]) -> tuple[int, ...]:
    """Indices of the layers that compute the tensors `ends` when the tensors `starts` are there already."""
    for name in (*starts, *ends):
        require(name in graph.tensors, f"graph {graph.name}: no tensor {name}")
    given = set(starts)
    wanted, found = set(ends) - given, []
    for index in range(len(graph.layers) - 1, -1, -1):
        layer = graph.layers[index]
        if not wanted.isdisjoint(layer.outputs):
            found.append(index)
            wanted |= set(layer.inputs) - given
    return tuple(reversed(found))


def bytes_of(graph: Graph, tensors: Iterable[str]) -> int:
    """Bytes of tensors as computed: what crosses a hop that passes them unencoded."""
    return sum(graph.tensors[name].size for name in tensors)


def slice_memory(graph: Graph, starts: Collection[str], ends: Collection[str]) -> Memory:
    """The memory of the slice from the tensors `starts` to the tensors `ends`, run layer by layer.

    An activation is freed after the last layer that reads it; `ends` are kept to the end. What the operators
    themselves need for working space is not in it.
    """
    layers = [graph.layers[index] for index in layers_between(graph, starts, ends)]
    last_use = {name: step for step, layer in enumerate(layers) for name in layer.inputs}
    last_use |= dict.fromkeys(ends, len(layers))
    alive = {name for name in starts if name in last_use}
    peak = bytes_of(graph, alive)
    for step, layer in enumerate(layers):
        alive |= {*layer.inputs, *layer.outputs}
        peak = max(peak, bytes_of(graph, alive))
        alive = {name for name in alive if last_use.get(name, -1) > step}
    return Memory(sum(layer.parameters for layer in layers), peak)
