"""The shape of a request, and what the routes of a table need at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from edge_api.shapes import by_input
from edge_planning.costs.curves import Curve
from edge_planning.request_shapes import RequestShape
from edge_planning.routing.routes import RouteRequirement
from edge_planning.routing.shaped_routes import ShapedRoute, at_size
from edge_runtime.assignment import Placement, Route
from edge_runtime.tensors import Array, Tensor, batch_size


@dataclass(frozen=True, slots=True)
class TableShapes:
    """The costs of a table's routes by the size of a request, which is `planned` in its requirements."""

    planned: float
    routes: tuple[ShapedRoute, ...]

    def requirements(
        self, table: Sequence[RouteRequirement], size: float, slo: float
    ) -> tuple[RouteRequirement, ...]:
        """The requirements of a request of this size. slo: in seconds."""
        return tuple(
            at_size(needs, costs, self.planned, size, slo)
            for needs, costs in zip(table, self.routes, strict=True)
        )

    def bits(self, route: int) -> float:
        """Bits that a route sends over the measured link at the planned size; 0 if they are unknown."""
        curve = self.routes[route].bits
        return 0.0 if curve is None else curve.at(self.planned)

    def pace(self, size: float) -> float:
        """Compute time of a request of this size over that of a planned one, by the first local route."""
        curve = next((costs.here for costs in reversed(self.routes) if costs.here is not None), None)
        planned = 0.0 if curve is None else curve.at(self.planned)
        return 1.0 if curve is None or planned <= 0 else curve.at(size) / planned


def table_shapes(placement: Placement, routes: Sequence[Route]) -> TableShapes | None:
    """The costs of these routes of a placement; None if it has costs at one shape only."""
    shapes = placement.spec.shapes
    if shapes is None:
        return None
    sizes = [_size(by_input(each.inputs)) for each in shapes.measured]
    return TableShapes(_size(by_input(shapes.planned)), tuple(_shaped(each, sizes) for each in routes))


def _shaped(route: Route, sizes: Sequence[float]) -> ShapedRoute:
    here = route.local.compute_at if route.local is not None else None
    others = [stage.compute_at for stage in route.stages if stage.address is not None]
    known = [each for each in others if each is not None and len(each) == len(sizes)]
    beyond = [float(sum(at)) for at in zip(*known, strict=True)] if known else None
    sent = next((stage.bytes_at for stage in route.stages if stage.runtime == "Triton"), None)
    bits = None if sent is None else [8.0 * each for each in sent]
    return ShapedRoute(_curve(sizes, here), _curve(sizes, beyond), _curve(sizes, bits))


def _curve(sizes: Sequence[float], values: Sequence[float] | None) -> Curve | None:
    if values is None or len(values) != len(sizes):
        return None
    return Curve.through(zip(sizes, map(float, values), strict=True))


def _size(shapes: Mapping[str, Sequence[int]]) -> float:
    return float(sum(prod(shape) for shape in shapes.values()))


def _open_without_batch(tensor: Tensor) -> bool:
    return tensor.any_rank or min(tensor.shape, default=0) < 0


def is_open(inputs: Sequence[Tensor]) -> bool:
    """Whether requests can differ in shape besides the batch."""
    return any(tensor.any_rank or min(tensor.shape[1:], default=0) < 0 for tensor in inputs)


def request_shape(inputs: Sequence[Tensor], arrays: Mapping[str, Array]) -> RequestShape | None:
    """The shape of a request for a batch of one.

    None for several rows if an input without a batch has open sizes: they can be those of the batch, as of
    a state whose second dimension is, so one row of the request has another shape than the request says.
    """
    if batch_size(inputs, arrays) != 1 and any(not t.has_batch and _open_without_batch(t) for t in inputs):
        return None
    return RequestShape.of(
        {
            t.name: (1, *arrays[t.name].shape[1:]) if t.has_batch else arrays[t.name].shape
            for t in inputs
            if t.name in arrays
        }
    )
