"""The exits of a model, as passed or as declared in its file, with the cuts before each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

from edge_planning.errors import BadValueError, require
from edge_planning.graphs.cuts import crossing_cuts, on_the_way
from edge_planning.graphs.models import Cut, Exit, Model
from edge_planning.graphs.slices import layers_between
from edge_planning.graphs.values import Graph

EXITS_KEY = "edge.exits"
"""Key in a file's metadata; the value is a JSON list of {"name", "output", "accuracy"}."""

ExitDocument = Mapping[str, object]


def read_exits(graph: Graph, given: Sequence[ExitDocument] | None, stated: str | None) -> Model:
    """Returns the model of a graph with its exits by depth: those `given`, else those `stated` in the file.

    If neither lists exits, every output is an exit with its name and accuracy 1, cheapest first, and the
    graph gets a warning.

    Raises:
        BadValueError: An entry is not an exit of this graph, or takes more FLOPs than the last exit, which is
            the full model.
    """
    if given is None and stated is None:
        warning = "no exits are declared: every output counts as an exit with accuracy 1"
        computed = [output for output in graph.outputs if all(on_the_way(graph, output))]
        require(bool(computed), f"model {graph.name}: none of its outputs is computed from an input")
        if left := [output for output in graph.outputs if output not in computed]:
            warning += f", except {', '.join(left)}, which no input leads to"
        graph = replace(graph, warnings=(*graph.warnings, warning))
        outputs = sorted(computed, key=lambda output: _flops(graph, output))
        entries: Sequence[object] = [{"name": o, "output": o, "accuracy": 1.0} for o in outputs]
    else:
        entries = given if given is not None else _listed(graph, stated or "")
    require(bool(entries), f"model {graph.name}: exits: the list is empty")
    exits = tuple(_exit(graph, number, entry) for number, entry in enumerate(entries))
    _require_order(graph, exits)
    return Model(graph.name, exits, graph)


def _require_order(graph: Graph, exits: Sequence[Exit]) -> None:
    outputs = [exit_.output for exit_ in exits]
    where = f"model {graph.name}: exits"
    require(len(set(outputs)) == len(outputs), f"{where}: an output is listed twice: {', '.join(outputs)}")
    costs = [_flops(graph, output) for output in outputs]
    dearest = costs.index(max(costs))
    require(
        costs[-1] == costs[dearest],
        f"{where} out of order: the last, {exits[-1].name}, takes {costs[-1]:.4g} FLOP and "
        f"{exits[dearest].name} {costs[dearest]:.4g}: list the full model last",
    )


def _flops(graph: Graph, output: str) -> float:
    return sum(layer.flops for layer in layers_between(graph, (), (output,)))


def _listed(graph: Graph, stated: str) -> Sequence[object]:
    try:
        entries = json.loads(stated)
    except ValueError as error:
        raise BadValueError(f"model {graph.name}: the metadata {EXITS_KEY} is not JSON: {error}") from error
    require(
        isinstance(entries, list), f"model {graph.name}: the metadata {EXITS_KEY} is not a list: {stated}"
    )
    return list(entries)


def _exit(graph: Graph, number: int, entry: object) -> Exit:
    where = f"model {graph.name}: exits[{number}]"
    if not isinstance(entry, Mapping):
        raise BadValueError(f"{where}: {entry!r} is not {{name, output, accuracy}}")
    name, output, accuracy = (entry.get(key) for key in ("name", "output", "accuracy"))
    if not isinstance(name, str) or not name:
        raise BadValueError(f"{where}.name: {name!r} is not a name")
    if not isinstance(output, str) or output not in graph.outputs:
        outputs = ", ".join(graph.outputs)
        raise BadValueError(f"{where}.output: {output!r} is not an output of the graph; those are {outputs}")
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float) or not isfinite(accuracy):
        raise BadValueError(f"{where}.accuracy: {accuracy!r} must be a number between 0 and 1")
    return Exit(name, output, float(accuracy), _cuts(graph, output))


def _cuts(graph: Graph, output: str) -> tuple[Cut, ...]:
    """Returns the cuts whose tensors can be sent, with their bytes."""
    cuts = [(names, sum(graph.tensors[n].size for n in names)) for names in crossing_cuts(graph, output)]
    inputs, size = cuts[0]
    require(
        size > 0,
        f"model {graph.name}: the inputs {', '.join(inputs)} have no elements: a dimension of 0 is a size; "
        f"use a name or -1 for a symbolic dimension",
    )
    return tuple(Cut(names, size) for names, size in cuts)
