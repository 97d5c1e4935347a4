"""The layers before and behind a cut, and their memory."""

from collections.abc import Collection, Iterable, Sequence

from edge_planning.graphs.cuts import Outputs, makers, named, require_cut, require_tensors
from edge_planning.graphs.values import Graph, Layer


def slice_layers(
    graph: Graph, cut: Collection[str], outputs: Outputs
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """Returns head and tail: the layers from the inputs to the cut, and those from the cut to the outputs.

    Both are in topological order. A layer that both sides need (one without inputs, or one between two
    tensors of the cut) is in both.

    Raises:
        BadValueError: The cut does not separate the inputs from the outputs.
    """
    require_cut(graph, cut, outputs)
    return layers_between(graph, (), cut), layers_between(graph, cut, named(outputs))


def layers_between(graph: Graph, given: Collection[str], wanted: Iterable[str]) -> tuple[Layer, ...]:
    """Returns the layers that compute `wanted` from `given`, in topological order."""
    wanted = tuple(wanted)
    require_tensors(graph, (*given, *wanted))
    maker = makers(graph)
    found: set[int] = set()
    waiting = [name for name in wanted if name not in given]
    while waiting:
        number = maker.get(waiting.pop())
        if number is not None and number not in found:
            found.add(number)
            waiting += [name for name in graph.layers[number].inputs if name not in given]
    return tuple(graph.layers[number] for number in sorted(found))


def peak_memory(graph: Graph, layers: Sequence[Layer], wanted: Collection[str]) -> int:
    """Returns the peak memory of a slice in bytes: its parameters, and the most activations alive at once.

    Inputs are alive from the start, and every tensor until its last reader has run. No operator is assumed to
    work in place or to need a workspace: a runtime can need less or, for workspace, more.

    `layers`: In execution order. `wanted`: Tensors that stay alive after the slice.
    """
    made = {name for layer in layers for name in layer.outputs}
    last = {name: number for number, layer in enumerate(layers) for name in layer.inputs}
    alive = sum(graph.tensors[name].size for name in {*last, *wanted} - made)
    peak = alive
    for number, layer in enumerate(layers):
        alive += sum(graph.tensors[name].size for name in layer.outputs)
        inside = (
            layer.memory
            - layer.parameters
            - sum(graph.tensors[name].size for name in (*layer.inputs, *layer.outputs))
        )
        peak = max(peak, alive + inside)
        alive -= sum(
            graph.tensors[name].size
            for name in (*layer.inputs, *(name for name in layer.outputs if name not in last))
            if last.get(name, number) == number and name not in wanted
        )
    return peak + sum(layer.parameters for layer in layers)
