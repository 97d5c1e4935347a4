"""The exits of a model, as passed or as declared in its file, with the cuts before each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_planning.declared_exits import (
    FINAL,
    BadExitError,
    DeclaredExit,
    check_exits,
    parse_exits,
    whole_model,
)
from edge_planning.errors import BadModelError, require
from edge_planning.graphs.cuts import crossing_cuts, on_the_way, read_behind
from edge_planning.graphs.input_copies import input_copies
from edge_planning.graphs.models import Cut, Exit, Model
from edge_planning.graphs.slices import layers_between
from edge_planning.graphs.values import Graph

ExitDocument = Mapping[str, object]


def read_exits(graph: Graph, given: Sequence[ExitDocument] | None, stated: str | None) -> Model:
    """Returns the model of a graph with its exits by depth: those `given`, else those `stated` in the file.

    If neither lists exits, the model has one, with all of its outputs. An exit without an accuracy is planned
    with accuracy 1. Both give the graph a warning.

    Raises:
        BadValueError: An entry is not an exit of this graph, or takes more FLOPs than the last exit, which is
            the full model.
    """
    if given is None and stated is None:
        computed = [output for output in graph.outputs if all(on_the_way(graph, output))]
        require(bool(computed), f"model {graph.name}: none of its outputs is computed from an input")
        if left := [output for output in graph.outputs if output not in computed]:
            graph = _warned(graph, f"exit {FINAL}: no input leads to {', '.join(left)}, which it leaves out")
        declared = whole_model(computed)
    else:
        declared = _declared(graph, given, stated or "")
    if declared[-1].accuracy is None:
        graph = _warned(graph, f"exit {declared[-1].name}: no accuracy is stated: it is planned with 1")
    exits = tuple(
        Exit(e.name, e.outputs, 1.0 if e.accuracy is None else e.accuracy, _cuts(graph, e.outputs))
        for e in declared
    )
    _require_order(graph, exits)
    operators = ((layer.kind, layer.inputs, layer.outputs) for layer in graph.layers)
    return Model(graph.name, exits, graph, input_copies=input_copies(graph.inputs, operators))


def _warned(graph: Graph, warning: str) -> Graph:
    return replace(graph, warnings=(*graph.warnings, warning))


def _require_order(graph: Graph, exits: Sequence[Exit]) -> None:
    where = f"model {graph.name}: exits"
    costs = [_flops(graph, exit_.outputs) for exit_ in exits]
    dearest = costs.index(max(costs))
    require(
        costs[-1] == costs[dearest],
        f"{where} out of order: the last, {exits[-1].name}, takes {costs[-1]:.4g} FLOP and "
        f"{exits[dearest].name} {costs[dearest]:.4g}: list the full model last",
    )


def _flops(graph: Graph, outputs: Sequence[str]) -> float:
    return sum(layer.flops for layer in layers_between(graph, (), outputs))


def _declared(graph: Graph, given: Sequence[ExitDocument] | None, stated: str) -> tuple[DeclaredExit, ...]:
    try:
        return parse_exits(stated, graph.outputs) if given is None else check_exits(given, graph.outputs)
    except BadExitError as error:
        raise BadModelError(f"model {graph.name}: {error}") from error


def _cuts(graph: Graph, outputs: Sequence[str]) -> tuple[Cut, ...]:
    """Returns the cuts whose tensors can be sent, with the bytes that cross."""
    cuts = [
        (names, sum(graph.tensors[n].size for n in read_behind(graph, names, outputs)))
        for names in crossing_cuts(graph, outputs)
    ]
    inputs, size = cuts[0]
    require(
        size > 0,
        f"model {graph.name}: the inputs {', '.join(inputs)} have no elements: a dimension of 0 is a size; "
        f"use a name or -1 for a symbolic dimension",
    )
    return tuple(Cut(names, size) for names, size in cuts)
