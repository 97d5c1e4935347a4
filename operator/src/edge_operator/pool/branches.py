"""Adds to a model's metadata and measurements the cuts that the planner finds in its branches. Pure."""

from collections.abc import Iterable, Mapping
from itertools import starmap

from edge_operator.pool import manifests
from edge_operator.store_answers import CardCut, CardExit, DeviceProfile, LayerGraph, ModelCard, SegmentTime
from edge_planning.costs.profiles import Timing
from edge_planning.errors import PlanningError
from edge_planning.graphs.models import Exit, Model
from edge_planning.graphs.values import Graph, Layer, Tensor
from edge_planning.partitioning.measured import estimated_segments, with_found_cuts


def with_branch_cuts(
    card: ModelCard,
    costs: Mapping[str, DeviceProfile],
    graph: LayerGraph | None,
    ends: Iterable[tuple[str, str]],
) -> tuple[ModelCard, dict[str, DeviceProfile]]:
    """Returns metadata and measurements with the found cuts, or unchanged if none was found.

    ends: device classes of an entry node and of a place that it can send to. Segments up to a found cut are
    estimated from the measured one that contains them. A graph that does not fit the metadata is ignored.
    """
    model = manifests.planned_model(card.digest, card)
    pairs = {pair for exit_ in model.exits for pair in exit_.segments()}
    measured = {name: _only(profile, pairs) for name, profile in costs.items()}
    if graph is None or not graph.layers:
        return card, measured
    profiles = {name: manifests.class_profile(profile) for name, profile in measured.items()}
    try:
        model = Model(model.name, model.exits, _graph(card, graph), input_copies=model.input_copies)
        usable = sorted({(near, far) for near, far in ends if near in profiles and far in profiles})
        merged = with_found_cuts(model, [(profiles[near], profiles[far]) for near, far in usable])
        if merged.exits == model.exits:
            return card, measured
        estimated = {name: estimated_segments(model, merged, each) for name, each in profiles.items()}
    except PlanningError:
        return card, measured
    exits = tuple(_exit(old, new) for old, new in zip(card.exits, merged.exits, strict=True))
    split = {
        name: profile.model_copy(
            update={"segments": (*profile.segments, *starmap(_segment, estimated[name].items()))}
        )
        for name, profile in measured.items()
    }
    return card.model_copy(update={"exits": exits}), split


def _only(profile: DeviceProfile, pairs: set[tuple[str, str]]) -> DeviceProfile:
    """Returns the profile without segments of other cuts, such as estimates of an earlier plan."""
    segments = tuple(segment for segment in profile.segments if (segment.start, segment.end) in pairs)
    return profile.model_copy(update={"segments": segments})


def _segment(ends: tuple[str, str], timing: Timing) -> SegmentTime:
    times = {"mean_seconds": timing.mean, "p95_seconds": timing.p95, "runs": 1}
    return SegmentTime.model_validate({"from": ends[0], "to": ends[1], **times})


def _graph(card: ModelCard, graph: LayerGraph) -> Graph:
    layers = (Layer(e.name, e.kind, e.inputs, e.outputs, e.flops, 0, 0, 0) for e in graph.layers)
    tensors = {each.name: Tensor(each.name, (), 0, each.bytes, each.bytes > 0) for each in graph.tensors}
    return Graph(card.digest, graph.inputs, graph.outputs, tuple(layers), tensors)


def _exit(old: CardExit, new: Exit) -> CardExit:
    known = {cut.tensor: cut for cut in old.cuts}
    cuts = tuple(
        known.get(cut.name) or CardCut(tensor=cut.name, tensors=cut.tensors, bytes=cut.size)
        for cut in new.cuts
    )
    return old.model_copy(update={"cuts": cuts})
