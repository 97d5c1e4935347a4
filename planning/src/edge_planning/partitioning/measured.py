"""Cuts of a measured model that its metadata does not list: those of a branched model at several tensors.

The metadata of a model lists the cuts that one order of its layers has. A branched model has more, e.g.
behind the whole of one branch and in front of another. They are found by minimum cuts (envelope_cuts), with
the measured time of each segment divided among its layers in proportion to their FLOPs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from edge_planning.costs.profiles import ClassProfile, Timing
from edge_planning.errors import BadValueError
from edge_planning.graphs.cuts import require_cut
from edge_planning.graphs.models import Cut, Exit, Model
from edge_planning.graphs.slices import layers_between
from edge_planning.graphs.values import Graph
from edge_planning.partitioning.envelopes import envelope_cuts

MOST_TENSORS = 16
"""Tensors of a cut that is found; with more, the overhead of each tensor is no longer small."""
MOST_CUTS = 32
"""Cuts that are found for an exit, the first ones by depth."""
_NEVER = 2.0**60
"""Bytes of a tensor that cannot be sent, so that no minimum cut contains it."""

Layers = frozenset[str]


def with_found_cuts(model: Model, ends: Iterable[tuple[ClassProfile, ClassProfile]]) -> Model:
    """Returns the model with the cuts that are optimal at some bandwidth, for pairs of near and far classes.

    All cuts of an exit are nested: each has all layers before it that the one before has. A listed cut of
    several tensors that is not nested with a found one is left out, since it is optimal nowhere.

    Raises:
        BadValueError: The model has no graph, a cut does not separate, or a segment is not measured.
    """
    graph = _graph(model)
    found: dict[str, list[Cut]] = {exit_.name: [] for exit_ in model.exits}
    priced = _with_prices(graph)
    for near, far in ends:
        head, tail = (np.array(list(_seconds(model, profile).values())) for profile in (near, far))
        for exit_ in model.exits:
            for cut in envelope_cuts(priced, exit_.outputs, head, tail):
                if _usable(graph, exit_, cut.tensors):
                    found[exit_.name].append(_cut(graph, cut.tensors))
    return replace(model, exits=tuple(_merged(graph, exit_, found[exit_.name]) for exit_ in model.exits))


def estimated_segments(
    model: Model, merged: Model, profile: ClassProfile
) -> Mapping[tuple[str, str], Timing]:
    """Returns the segments between the cuts of `merged` that are not measured, estimated from the others."""
    graph = _graph(model)
    means = _seconds(model, profile)
    slow = _seconds(
        model, replace(profile, segments={p: Timing(t.p95, t.p95) for p, t in profile.segments.items()})
    )
    found = {}
    for exit_ in merged.exits:
        for pair, start, end in _bounds(exit_):
            if pair not in profile.segments:
                layers = [layer.outputs[0] for layer in layers_between(graph, start, end)]
                found[pair] = Timing(sum(means[name] for name in layers), sum(slow[name] for name in layers))
    return found


def _graph(model: Model) -> Graph:
    if model.graph is None:
        raise BadValueError(f"model {model.name}: no graph to cut")
    return model.graph


def _with_prices(graph: Graph) -> Graph:
    tensors = {
        name: tensor if tensor.crosses and tensor.size else replace(tensor, size=int(_NEVER))
        for name, tensor in graph.tensors.items()
    }
    return replace(graph, tensors=tensors)


def _bounds(exit_: Exit) -> Iterator[tuple[tuple[str, str], tuple[str, ...], tuple[str, ...]]]:
    """Yields each segment with the tensors at its two ends."""
    ends = [*(cut.tensors for cut in exit_.cuts), exit_.outputs]
    return ((pair, *tensors) for pair, tensors in zip(exit_.segments(), pairwise(ends), strict=True))


def _seconds(model: Model, profile: ClassProfile) -> dict[str, float]:
    """Returns the mean seconds of each layer, by its first output; 0 for layers that no segment contains."""
    graph = _graph(model)
    seconds: dict[str, float] = {}
    for exit_ in reversed(model.exits):
        for pair, start, end in _bounds(exit_):
            timing = profile.segments.get(pair)
            if timing is None:
                raise BadValueError(
                    f"device class {profile.name}: the segment {' to '.join(pair)} is not measured"
                )
            layers = layers_between(graph, start, end)
            whole = sum(layer.flops for layer in layers)
            for layer in layers:
                share = layer.flops / whole if whole > 0 else 1 / len(layers)
                seconds.setdefault(layer.outputs[0], timing.mean * share)
    return {layer.outputs[0]: seconds.get(layer.outputs[0], 0.0) for layer in graph.layers}


def _usable(graph: Graph, exit_: Exit, tensors: tuple[str, ...]) -> bool:
    return (
        0 < len(tensors) <= MOST_TENSORS
        and set(exit_.outputs).isdisjoint(tensors)
        and all(graph.tensors[name].crosses and graph.tensors[name].size for name in tensors)
    )


def _cut(graph: Graph, tensors: tuple[str, ...]) -> Cut:
    return Cut(tuple(sorted(tensors)), sum(graph.tensors[name].size for name in tensors))


def _merged(graph: Graph, exit_: Exit, found: list[Cut]) -> Exit:
    for cut in exit_.cuts:
        require_cut(graph, cut.tensors, exit_.outputs)
    first, *listed = exit_.cuts
    known = {frozenset(cut.tensors) for cut in exit_.cuts}
    new = [cut for cut in dict.fromkeys(found) if frozenset(cut.tensors) not in known][:MOST_CUTS]
    if not new:
        return exit_
    optimal = {frozenset(cut.tensors) for cut in found}
    order = [cut for cut in listed if len(cut.tensors) == 1 or frozenset(cut.tensors) in optimal]
    chain: list[tuple[Layers, Cut]] = [(frozenset(), first)]
    for cut in dict.fromkeys([*order, *new, *listed]):
        before = frozenset(layer.outputs[0] for layer in layers_between(graph, (), cut.tensors))
        if all(before < other or other < before for other, _ in chain):
            chain.append((before, cut))
    chain.sort(key=lambda item: len(item[0]))
    return replace(exit_, cuts=tuple(cut for _, cut in chain))
