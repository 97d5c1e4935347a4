"""Compute times of layers on a device class: measured if possible, else regressed, else from FLOPs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge_planning.costs.classes import DeviceClass
from edge_planning.costs.profiles import ClassProfile, Timing
from edge_planning.costs.variables import family, variables_of
from edge_planning.errors import BadValueError, require
from edge_planning.graphs.models import Model
from edge_planning.graphs.slices import layers_between
from edge_planning.graphs.values import Graph, Layer

_SHOWN = 3


class EstimateSource(StrEnum):
    """The source of an estimate, the most reliable first."""

    MEASURED = "measured"
    REGRESSION = "regression"
    FLOPS = "flops"


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Mean seconds; error is the relative standard error of that mean, 0 if measured."""

    seconds: float
    error: float
    source: EstimateSource


def total(estimates: Iterable[TimeEstimate]) -> TimeEstimate:
    """Returns the estimate of layers that run sequentially.

    Their errors count as fully correlated (one class, one regression), which is conservative. The source is
    the least reliable one.

    Raises:
        BadValueError: There are no estimates.
    """
    parts = tuple(estimates)
    require(bool(parts), "estimates: the list is empty")
    seconds = sum(part.seconds for part in parts)
    error = sum(part.seconds * part.error for part in parts) / seconds if seconds > 0 else 0.0
    return TimeEstimate(seconds, error, max((part.source for part in parts), key=list(EstimateSource).index))


def layer_times(
    graph: Graph, device_class: DeviceClass, measured: Mapping[tuple[str, str], Timing] | None = None
) -> tuple[TimeEstimate, ...]:
    """Returns one estimate per layer of the graph, in its order.

    `measured` has timings of slices by (tensor from, tensor to), as in a ClassProfile. The time of a slice of
    several layers is divided in proportion to their estimates without it. Of overlapping slices the shorter
    one is used.

    Raises:
        BadValueError: A tensor is not in the graph.
    """
    times = {_key(layer): _estimate(layer, device_class) for layer in graph.layers}
    slices = [
        ([_key(layer) for layer in layers_between(graph, (start,), (end,))], timing)
        for (start, end), timing in (measured or {}).items()
    ]
    known: set[str] = set()
    for layers, timing in sorted(slices, key=lambda slice_: len(slice_[0])):
        if known.isdisjoint(layers):
            known.update(layers)
            times |= _shared_out({layer: times[layer].seconds for layer in layers}, timing.mean)
    return tuple(times.values())


def class_profile(
    model: Model,
    device_class: DeviceClass,
    measured: Mapping[tuple[str, str], Timing] | None = None,
    *,
    loading: bool = False,
) -> ClassProfile:
    """Returns the profile of a model on a class where it was not measured, or only in part, from its graph.

    The variance of unmeasured segments is unknown, so their 95th percentile is the mean. With `loading`,
    every request loads the slices that it runs, as in Edgent's prototype; otherwise the model stays loaded.
    Loading time is linear in the bytes: each segment includes its own, and the first one also the constant
    part.

    Raises:
        BadValueError: The model has no graph, or `loading` is set and the class has no loading time.
    """
    graph = model.graph
    if graph is None:
        raise BadValueError(f"model {model.name}: no graph to estimate from")
    measured = measured or {}
    times = dict(zip(map(_key, graph.layers), layer_times(graph, device_class, measured), strict=True))
    segments = dict(measured)
    for start, end in {pair: None for exit_ in model.exits for pair in exit_.segments()}:
        if (start, end) not in segments:
            layers = layers_between(graph, (start,), (end,))
            mean = sum(times[_key(layer)].seconds for layer in layers)
            if loading:
                mean += _loading(device_class, layers, first=start in graph.inputs)
            segments[start, end] = Timing(mean, mean)
    return ClassProfile(
        device_class.name, segments, shapes=model.shapes, assumptions=unknown_sizes(model.name, graph)
    )


def unknown_sizes(name: str, graph: Graph) -> tuple[str, ...]:
    """Returns a sentence about the activations whose size is unknown; none if all are known."""
    if not graph.unsized:
        return ()
    shown, more = graph.unsized[:_SHOWN], len(graph.unsized) - _SHOWN
    named = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    sentence = (
        f"model {name}: the size of {named} is unknown and counts as 1 for each unknown dimension, so the "
        f"estimated times are lower bounds"
    )
    return (sentence,)


def _loading(device_class: DeviceClass, layers: Iterable[Layer], *, first: bool) -> float:
    if device_class.loading is None:
        raise BadValueError(f"device class {device_class.name}: loading is unknown")
    size = float(sum(layer.parameters for layer in layers))
    least = device_class.loading.seconds({"bytes": 0.0})
    return device_class.loading.seconds({"bytes": size}) - (0.0 if first else least)


def _key(layer: Layer) -> str:
    """Returns a unique key of a layer: a tensor has one producer, while names of layers can repeat."""
    return layer.outputs[0]


def _estimate(layer: Layer, device_class: DeviceClass) -> TimeEstimate:
    regression, variables = device_class.regressions.get(family(layer.kind)), variables_of(layer)
    if regression and regression.covers(variables):
        return TimeEstimate(regression.seconds(variables), regression.error, EstimateSource.REGRESSION)
    return TimeEstimate(
        layer.flops / device_class.flops_per_second, device_class.flops_error, EstimateSource.FLOPS
    )


def _shared_out(estimated: Mapping[str, float], seconds: float) -> dict[str, TimeEstimate]:
    """Divides measured seconds among layers in proportion to their estimates, or evenly if these are 0."""
    whole = sum(estimated.values())
    shares = {name: part / whole if whole > 0 else 1 / len(estimated) for name, part in estimated.items()}
    return {
        name: TimeEstimate(share * seconds, 0.0, EstimateSource.MEASURED) for name, share in shares.items()
    }
