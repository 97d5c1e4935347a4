"""Where the way to an output can be cut."""

from collections.abc import Collection, Iterable

from edge_planning.errors import BadValueError, require
from edge_planning.graphs.values import Graph


def makers(graph: Graph) -> dict[str, int]:
    """The layer that makes a tensor, by its number; inputs have none."""
    return {name: number for number, layer in enumerate(graph.layers) for name in layer.outputs}


def on_the_way(graph: Graph, output: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Inputs that lead to the output, and the layers between them and it, by number and in order."""
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
    """All cuts of one tensor on the way to an output, from the input to the deepest; the first is the inputs.

    The first is the set of all inputs that lead to the output, however many. The output itself is no cut.
    A tensor is a cut exactly when, at some moment of a run in topological order, it is the only one that is
    still needed: then every layer on the way is either before or behind it, so one pass finds them all.
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
    """The cuts of chain_cuts at which something can be sent; the first stays, whatever the inputs are."""
    first, *rest = chain_cuts(graph, output)
    sent = [graph.tensors[name] for (name,) in rest]
    return (first, *((tensor.name,) for tensor in sent if tensor.crosses and tensor.size))


def path_around(graph: Graph, tensors: Collection[str], output: str) -> tuple[str, ...] | None:
    """Tensors from an input to the output that avoid `tensors`; None when the cut separates them."""
    require_tensors(graph, (output, *tensors))
    # Backwards from the output: `onward` has the tensor that each one leads to.
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
    """Whether every path from an input to the output passes one of `tensors`."""
    return path_around(graph, tensors, output) is None


def require_cut(graph: Graph, tensors: Collection[str], output: str) -> None:
    """BadValueError with a path that avoids the cut unless it separates the inputs from the output."""
    path = path_around(graph, tensors, output)
    if path is None:
        return
    shown = " -> ".join(path if len(path) <= 6 else (*path[:3], "...", *path[-2:]))
    raise BadValueError(
        f"graph {graph.name}: {', '.join(tensors) or 'nothing'} is a cut that does not separate the inputs "
        f"from {output}: {shown} goes around it"
    )


def require_tensors(graph: Graph, names: Iterable[str]) -> None:
    """BadValueError unless the graph has tensors of these names."""
    for name in names:
        require(name in graph.tensors, f"graph {graph.name}: no tensor is called {name}")
