"""How long layers take on a device class: measured where possible, else regressed, else from FLOPs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge_planning.costs.classes import DeviceClass
from edge_planning.costs.slices import layers_between
from edge_planning.costs.variables import family, variables_of
from edge_planning.errors import require
from edge_planning.graphs.values import Graph, Layer
from edge_planning.models import Model
from edge_planning.profiles import ClassProfile, Timing


class Source(StrEnum):
    """Where an estimate comes from, the surest first."""

    MEASURED = "measured"
    REGRESSION = "regression"
    FLOPS = "flops"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean seconds; error is the relative standard error of that mean, 0 for what was measured."""

    seconds: float
    error: float
    source: Source


def layer_times(
    graph: Graph, device_class: DeviceClass, measured: Mapping[tuple[str, str], Timing] | None = None
) -> tuple[Estimate, ...]:
    """One estimate for each layer of the graph, in its order.

    measured: timings of slices by (tensor from, tensor to), as in a ClassProfile. A slice of several layers
    is shared out among them as they are estimated without it; of overlapping slices the shorter one counts.
    """
    times = [_estimate(layer, device_class) for layer in graph.layers]
    slices = [(layers_between(graph, ends[:1], ends[1:]), t) for ends, t in (measured or {}).items()]
    known: set[int] = set()
    for layers, timing in sorted(slices, key=lambda slice_: len(slice_[0])):
        if not known.isdisjoint(layers):
            continue
        total = sum(times[index].seconds for index in layers)
        for index in layers:
            times[index] = Estimate(times[index].seconds / total * timing.mean, 0.0, Source.MEASURED)
        known.update(layers)
    return tuple(times)


def _estimate(layer: Layer, device_class: DeviceClass) -> Estimate:
    regression, variables = device_class.regressions.get(family(layer.kind)), variables_of(layer)
    if regression and variables:
        return Estimate(regression.seconds(variables), regression.error, Source.REGRESSION)
    return Estimate(layer.flops / device_class.flops_per_second, device_class.flops_error, Source.FLOPS)


def class_profile(
    model: Model,
    device_class: DeviceClass,
    measured: Mapping[tuple[str, str], Timing] | None = None,
) -> ClassProfile:
    """The profile of a model that was not measured (or only in part) on a class, by its graph.

    Nothing is known of the spread from run to run where nothing was measured: the 95th percentile is the mean
    there. Loading the model is not in it: sessions are warm.
    """
    require(model.graph is not None, f"model {model.name}: no graph, so nothing to estimate from")
    graph = model.graph
    assert graph is not None
    times, segments = layer_times(graph, device_class, measured), {}
    for exit_ in model.exits:
        for start, end in exit_.segments():
            if measured and (start, end) in measured:
                segments[start, end] = measured[start, end]
            elif (start, end) not in segments:
                mean = sum(times[index].seconds for index in layers_between(graph, (start,), (end,)))
                segments[start, end] = Timing(mean, mean)
    return ClassProfile(device_class.name, segments)
