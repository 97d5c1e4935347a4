"""How long layers take on a device class: measured where possible, else regressed, else from FLOPs."""

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


def total(estimates: Iterable[Estimate]) -> Estimate:
    """The estimate of layers that run one after another.

    Their errors are taken to go together (one class, one regression), which is on the safe side; the source
    is the least sure one. BadValueError when there are none.
    """
    parts = tuple(estimates)
    require(bool(parts), "estimates: none to sum up")
    seconds = sum(part.seconds for part in parts)
    error = sum(part.seconds * part.error for part in parts) / seconds if seconds > 0 else 0.0
    return Estimate(seconds, error, max((part.source for part in parts), key=list(Source).index))


def layer_times(
    graph: Graph, device_class: DeviceClass, measured: Mapping[tuple[str, str], Timing] | None = None
) -> tuple[Estimate, ...]:
    """One estimate for each layer of the graph, in its order.

    measured: timings of slices by (tensor from, tensor to), as in a ClassProfile. A slice of several layers
    is shared out among them as they are estimated without it; of overlapping slices the shorter one counts.
    BadValueError names a tensor that the graph does not have.
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
    """The profile of a model that was not measured (or only in part) on a class, by its graph.

    Nothing is known of the spread from run to run where nothing was measured: the 95th percentile is the mean
    there. loading: every request loads what it runs, as in Edgent's prototype; else sessions are warm. It is
    linear in the bytes, so each segment bears its own, and the first one what any loading takes at least.
    BadValueError for a model without a graph, or a class whose loading is not known where it is asked for.
    """
    graph = model.graph
    if graph is None:
        raise BadValueError(f"model {model.name}: no graph, so nothing to estimate from")
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
    return ClassProfile(device_class.name, segments)


def _loading(device_class: DeviceClass, layers: Iterable[Layer], *, first: bool) -> float:
    if device_class.loading is None:
        raise BadValueError(f"device class {device_class.name}: loading is not known")
    size = float(sum(layer.parameters for layer in layers))
    least = device_class.loading.seconds({"bytes": 0.0})
    return device_class.loading.seconds({"bytes": size}) - (0.0 if first else least)


def _key(layer: Layer) -> str:
    """A tensor has one maker, while names of layers may repeat."""
    return layer.outputs[0]


def _estimate(layer: Layer, device_class: DeviceClass) -> Estimate:
    regression, variables = device_class.regressions.get(family(layer.kind)), variables_of(layer)
    if regression and regression.covers(variables):
        return Estimate(regression.seconds(variables), regression.error, Source.REGRESSION)
    return Estimate(layer.flops / device_class.flops_per_second, device_class.flops_error, Source.FLOPS)


def _shared_out(estimated: Mapping[str, float], seconds: float) -> dict[str, Estimate]:
    """Measured seconds of several layers, in proportion to what they were estimated at (or evenly)."""
    whole = sum(estimated.values())
    shares = {name: part / whole if whole > 0 else 1 / len(estimated) for name, part in estimated.items()}
    return {name: Estimate(share * seconds, 0.0, Source.MEASURED) for name, share in shares.items()}
