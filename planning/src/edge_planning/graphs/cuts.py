"""The cuts that separate the inputs from an output."""

from collections.abc import Collection, Iterable

from edge_planning.errors import BadValueError, require
from edge_planning.graphs.values import Graph


def makers(graph: Graph) -> dict[str, int]:
    """Returns the number of the layer that produces each tensor; inputs have no entry."""
    return {name: number for number, layer in enumerate(graph.layers) for name in layer.outputs}


def on_the_way(graph: Graph, output: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the inputs that lead to the output, and the numbers of the layers in between, in order."""
    require_tensors(graph, (output,))
    wanted = {output}
    behind = set()
    for number in range(len(graph.layers) - 1, -1, -1):
        layer = graph.layers[number]
        if not wanted.isdisjoint(layer.outputs):
            wanted.update(layer.inputs)
            behind.add(number)
    inputs = tuple(name for name in graph.inputs if name in wanted)
    reached = set(inputs)
    found = []
    for number, layer in enumerate(graph.layers):
        if number in behind and not reached.isdisjoint(layer.inputs):
            reached.update(layer.outputs)
            found.append(number)
    return inputs, tuple(found)


def chain_cuts(graph: Graph, output: str) -> tuple[tuple[str, ...], ...]:
    """Returns all cuts of one tensor before an output, from the input to the deepest.

    The first is the set of all inputs that lead to the output. The output itself is not a cut. A tensor is a
    cut exactly when, at some point of a run in topological order, it is the only tensor still needed: then
    every layer is either before or behind it. One pass finds all of them.
    """
    inputs, layers = on_the_way(graph, output)
    require(bool(inputs), f"graph {graph.name}: the output {output} depends on no input")
    readers = dict.fromkeys(inputs, 0)
    for number in layers:
        readers |= dict.fromkeys(graph.layers[number].outputs, 0)
    for number in layers:
        for name in graph.layers[number].inputs:
            if name in readers:
                readers[name] += 1
    alive = {name for name in inputs if readers[name]}
    found = [inputs]
    for number in layers:
        layer = graph.layers[number]
        for name in layer.inputs:
            if name in readers:
                readers[name] -= 1
                if not readers[name] and name != output:
                    alive.discard(name)
        alive.update(name for name in layer.outputs if readers[name] or name == output)
        if len(alive) == 1 and output not in alive:
            found.append(tuple(alive))
    return tuple(found)


def crossing_cuts(graph: Graph, output: str) -> tuple[tuple[str, ...], ...]:
    """Returns the cuts of chain_cuts whose tensors can be sent; the first, the inputs, is always included."""
    first, *rest = chain_cuts(graph, output)
    sent = [graph.tensors[name] for (name,) in rest]
    return (first, *((tensor.name,) for tensor in sent if tensor.crosses and tensor.size))


def path_around(graph: Graph, tensors: Collection[str], output: str) -> tuple[str, ...] | None:
    """Returns a path of tensors from an input to the output that avoids `tensors`, or None."""
    require_tensors(graph, (output, *tensors))
    # Backwards from the output: `onward` holds the tensor that each one leads to.
    maker = makers(graph)
    inputs, cut = set(graph.inputs), set(tensors)
    onward: dict[str, str] = {output: ""}
    waiting = [output] if output not in cut else []
    while waiting:
        name = waiting.pop()
        if name in inputs:
            path = [name]
            while following := onward[path[-1]]:
                path.append(following)
            return tuple(path)
        for source in graph.layers[maker[name]].inputs:
            if source not in onward and source not in cut:
                onward[source] = name
                waiting.append(source)
    return None


def separates(graph: Graph, tensors: Collection[str], output: str) -> bool:
    """Returns whether every path from an input to the output passes through one of `tensors`."""
    return path_around(graph, tensors, output) is None


def require_cut(graph: Graph, tensors: Collection[str], output: str) -> None:
    """Raises BadValueError with a path that avoids the cut if it does not separate inputs and output."""
    path = path_around(graph, tensors, output)
    if path is None:
        return
    shown = " -> ".join(path if len(path) <= 6 else (*path[:3], "...", *path[-2:]))
    raise BadValueError(
        f"graph {graph.name}: cut {', '.join(tensors) or '(empty)'} does not separate the inputs from "
        f"{output}: path {shown} avoids it"
    )


def require_tensors(graph: Graph, names: Iterable[str]) -> None:
    """Raises BadValueError if the graph has no tensor of one of these names."""
    for name in names:
        require(name in graph.tensors, f"graph {graph.name}: no tensor is called {name}")
