"""The cuts that separate the inputs from the outputs of an exit."""

from collections.abc import Collection, Iterable, Sequence

from edge_planning.errors import BadValueError, require
from edge_planning.graphs.values import Graph

Outputs = str | Sequence[str]
"""The name of one output, or those of several."""


def named(outputs: Outputs) -> tuple[str, ...]:
    """Returns the names of outputs as a tuple."""
    return (outputs,) if isinstance(outputs, str) else tuple(outputs)


def makers(graph: Graph) -> dict[str, int]:
    """Returns the number of the layer that produces each tensor; inputs have no entry."""
    return {name: number for number, layer in enumerate(graph.layers) for name in layer.outputs}


def on_the_way(graph: Graph, outputs: Outputs) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the inputs that lead to the outputs, and the numbers of the layers in between, in order."""
    require_tensors(graph, named(outputs))
    wanted = set(named(outputs))
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


def chain_cuts(graph: Graph, outputs: Outputs) -> tuple[tuple[str, ...], ...]:
    """Returns the cuts of one intermediate tensor before an exit, from the inputs to the deepest.

    The first is the set of all inputs that lead to the outputs; the outputs themselves are not a cut. A cut
    is what is still needed at some point of a run in topological order: then every layer is either before or
    behind it. Beside the intermediate tensor it has the inputs that layers behind it read, such as a state,
    and the outputs that are already computed; then it is a cut only if what crosses is smaller than all
    inputs. One pass finds all of them.
    """
    results = set(named(outputs))
    inputs, layers = on_the_way(graph, outputs)
    require(bool(inputs), f"graph {graph.name}: the output {', '.join(results)} depends on no input")
    passing = results | set(inputs)
    readers = dict.fromkeys(inputs, 0)
    for number in layers:
        readers |= dict.fromkeys(graph.layers[number].outputs, 0)
    for number in layers:
        for name in graph.layers[number].inputs:
            if name in readers:
                readers[name] += 1
    alive = {name for name in inputs if readers[name] or name in results}
    order = {name: place for place, name in enumerate((*inputs, *readers))}
    whole = sum(graph.tensors[name].size for name in inputs)
    found = {frozenset(inputs): inputs}
    for number in layers:
        layer = graph.layers[number]
        for name in layer.inputs:
            if name in readers:
                readers[name] -= 1
                if not readers[name] and name not in results:
                    alive.discard(name)
        alive.update(name for name in layer.outputs if readers[name] or name in results)
        if results <= alive or len(alive - passing) > 1:
            continue
        if len(alive) == 1 or sum(graph.tensors[name].size for name in alive if readers[name]) < whole:
            found.setdefault(frozenset(alive), tuple(sorted(alive, key=order.__getitem__)))
    return tuple(found.values())


def crossing_cuts(graph: Graph, outputs: Outputs) -> tuple[tuple[str, ...], ...]:
    """Returns the cuts of chain_cuts whose tensors can be sent; the first, the inputs, is always included."""
    first, *rest = chain_cuts(graph, outputs)
    inputs = set(graph.inputs)

    def can_be_sent(names: tuple[str, ...]) -> bool:
        tensors = [graph.tensors[name] for name in names]
        return all((tensor.crosses or tensor.name in inputs) and tensor.size for tensor in tensors)

    return (first, *(names for names in rest if can_be_sent(names)))


def read_behind(graph: Graph, cut: Sequence[str], outputs: Outputs) -> tuple[str, ...]:
    """Returns the tensors of a cut that cross: without outputs that no layer behind it reads."""
    if set(cut).isdisjoint(named(outputs)):
        return tuple(cut)
    maker, known = makers(graph), set(cut)
    waiting = [name for name in named(outputs) if name not in known]
    seen, read = set(waiting), set[str]()
    while waiting:
        number = maker.get(waiting.pop())
        for name in graph.layers[number].inputs if number is not None else ():
            if name in known:
                read.add(name)
            elif name not in seen:
                seen.add(name)
                waiting.append(name)
    return tuple(name for name in cut if name in read)


def path_around(graph: Graph, tensors: Collection[str], outputs: Outputs) -> tuple[str, ...] | None:
    """Returns a path of tensors from an input to an output that avoids `tensors`, or None."""
    require_tensors(graph, (*named(outputs), *tensors))
    # Backwards from the outputs: `onward` holds the tensor that each one leads to.
    maker = makers(graph)
    inputs, cut = set(graph.inputs), set(tensors)
    onward = {output: "" for output in named(outputs) if output not in cut}
    waiting = list(onward)
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


def separates(graph: Graph, tensors: Collection[str], outputs: Outputs) -> bool:
    """Returns whether every path from an input to an output passes through one of `tensors`."""
    return path_around(graph, tensors, outputs) is None


def require_cut(graph: Graph, tensors: Collection[str], outputs: Outputs) -> None:
    """Raises BadValueError with a path that avoids the cut if it does not separate inputs and outputs."""
    path = path_around(graph, tensors, outputs)
    if path is None:
        return
    shown = " -> ".join(path if len(path) <= 6 else (*path[:3], "...", *path[-2:]))
    raise BadValueError(
        f"graph {graph.name}: cut {', '.join(tensors) or '(empty)'} does not separate the inputs from "
        f"{', '.join(named(outputs))}: path {shown} avoids it"
    )


def require_tensors(graph: Graph, names: Iterable[str]) -> None:
    """Raises BadValueError if the graph has no tensor of one of these names."""
    for name in names:
        require(name in graph.tensors, f"graph {graph.name}: no tensor is called {name}")
