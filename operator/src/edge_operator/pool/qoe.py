"""Quality of experience of a service by its active routes, in the six measures of the literature. Pure.

They are those of Zhou et al., "Edge Intelligence: Paving the Last Mile of Artificial Intelligence With Edge
Computing" (2019): accuracy, latency, communication, energy, privacy and memory.
"""

from collections.abc import Sequence
from typing import Final, get_args

from edge_api import Placement
from edge_api.inferenceservices import SloStatus
from edge_api.placements import Route
from edge_api.policies import Privacy
from edge_api.qoe import QoeStatus
from edge_api.quantities import Attainment, Quantity
from edge_operator.pool.entries import Entry

_STRICTEST_LAST: Final[tuple[Privacy, ...]] = get_args(Privacy)


def qoe_status(entries: Sequence[Entry], slo: SloStatus | None) -> QoeStatus | None:
    """Returns the measures of a service; None if no entry node has an active route.

    Accuracy, communication and energy are means over the entry nodes, as the plan predicts them; privacy and
    memory are those of the entry node that is worst.
    """
    used = [
        (entry.placement, route)
        for entry in entries
        if entry.placement is not None and (route := entry.route) is not None
    ]
    if not used:
        return None
    routes = [route for _, route in used]
    energies = [route.predicted_energy for route in routes if route.predicted_energy is not None]
    sent = [_sent(route) for route in routes]
    known = [size for size in sent if size is not None]
    return QoeStatus(
        accuracy=Attainment(sum(float(route.accuracy) for route in routes) / len(routes)),
        latency=slo.p95 if slo is not None else None,
        communication=Quantity(round(sum(known) / len(known))) if len(known) == len(sent) else None,
        energy=float(f"{sum(energies) / len(energies):.3g}") if len(energies) == len(routes) else None,
        privacy=min((_privacy(*each) for each in used), key=_STRICTEST_LAST.index),
        memory=Quantity(max(_memory(placement) for placement, _ in used)),
    )


def _sent(route: Route) -> int | None:
    """Returns the bytes on the uplink; None if the Placement of an earlier version does not have them."""
    crosses = any(stage.runtime == "Triton" for stage in route.stages)
    return route.predicted_bytes if crosses else 0


def _stays(route: Route) -> bool:
    return all(stage.address is None for stage in route.stages)


def _privacy(placement: Placement, route: Route) -> Privacy:
    """Returns the strictest spec.privacy that the route keeps."""
    if _stays(route):
        return "Local"
    inputs = {tensor.name for tensor in placement.spec.model.inputs}
    sent = route.cut_tensors or (route.cut,)
    return "Any" if inputs.intersection(sent) else "InputStaysLocal"


def _memory(placement: Placement) -> int:
    """Returns the bytes of the slices that the node loads, each counted once."""
    stages = [stage for route in placement.spec.routes for stage in route.stages if stage.address is None]
    stages += [each.stages[0] for each in placement.spec.intermediate_slices or ()]
    return sum({stage.slice.digest: stage.slice.size for stage in stages}.values())
