"""Converts a model's graph to the parts of an entry problem: cuts of several tensors, with their seconds."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edge_planning.costs.classes import DeviceClass
from edge_planning.costs.estimates import layer_times, unknown_sizes
from edge_planning.costs.profiles import ClassProfile, Timing
from edge_planning.errors import BadValueError
from edge_planning.graphs.cuts import require_cut
from edge_planning.graphs.models import Cut, Exit, Model
from edge_planning.graphs.slices import layers_between
from edge_planning.graphs.values import Graph
from edge_planning.partitioning.envelopes import envelope_cuts
from edge_planning.partitioning.partitions import Floats

Measured = Mapping[tuple[str, str], Timing]


def graph_problem(
    model: Model,
    entry: DeviceClass,
    remote: DeviceClass,
    entry_measured: Measured | None = None,
    remote_measured: Measured | None = None,
) -> tuple[Model, ClassProfile, ClassProfile]:
    """Returns the model with every cut that is optimal for its exit at some bandwidth, and both profiles.

    The cuts of envelope_cuts, of several tensors if that is better, are added to the cuts of the model.
    `plan_entry(EntryProblem(*graph_problem(model, entry, remote), …))` then plans a residual network in the
    same way as a chain. Times come from layer_times.

    Raises:
        BadValueError: The model has no graph, or a cut that does not separate.
    """
    graph = model.graph
    if graph is None:
        raise BadValueError(f"model {model.name}: no graph to cut")
    seconds = [
        np.array([estimate.seconds for estimate in layer_times(graph, class_, measured)])
        for class_, measured in ((entry, entry_measured), (remote, remote_measured))
    ]
    exits = tuple(_with_cuts(graph, exit_, *seconds) for exit_ in model.exits)
    before = [{exit_.name: _before(graph, exit_, times) for exit_ in exits} for times in seconds]
    profiles = [
        ClassProfile(c.name, {}, before=b, shapes=model.shapes, assumptions=unknown_sizes(model.name, graph))
        for c, b in zip((entry, remote), before, strict=True)
    ]
    return replace(model, exits=exits), profiles[0], profiles[1]


def _with_cuts(graph: Graph, exit_: Exit, head: Floats, tail: Floats) -> Exit:
    for cut in exit_.cuts:
        require_cut(graph, cut.tensors, exit_.outputs)
    known = {cut.tensors: cut for cut in exit_.cuts}
    for found in envelope_cuts(graph, exit_.outputs, head, tail):
        known.setdefault(tuple(sorted(found.tensors)), Cut(tuple(sorted(found.tensors)), found.size))
    first, *others = known.values()

    def depth(cut: Cut) -> tuple[float, str]:
        return sum(layer.flops for layer in layers_between(graph, (), cut.tensors)), cut.name

    return replace(exit_, cuts=(first, *sorted(others, key=depth)))


def _before(graph: Graph, exit_: Exit, seconds: Floats) -> tuple[float, ...]:
    times = {layer.outputs[0]: float(each) for layer, each in zip(graph.layers, seconds, strict=True)}
    ends = [*(cut.tensors for cut in exit_.cuts), exit_.outputs]
    return tuple(
        sum(times[layer.outputs[0]] for layer in layers_between(graph, (), tensors)) for tensors in ends
    )
