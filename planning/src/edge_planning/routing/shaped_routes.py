"""What the decision needs of a route at the shape of a request, from costs at a few shapes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf

from edge_planning.costs.curves import Curve
from edge_planning.routing.routes import RouteRequirement, bandwidth_alone


@dataclass(frozen=True, slots=True)
class ShapedRoute:
    """Costs of a route as curves of the size of a request; None: the same at any size.

    Attributes:
        here: Compute time at this node in seconds.
        beyond: Compute time at the other places in seconds.
        bits: Size of the transfer over the measured link.
    """

    here: Curve | None = None
    beyond: Curve | None = None
    bits: Curve | None = None


def at_size(
    requirement: RouteRequirement, costs: ShapedRoute, planned: float, size: float, slo: float
) -> RouteRequirement:
    """Returns the requirement of a request of this size.

    requirement: of one of the `planned` size. min_bandwidth becomes that at which the request takes as long
    as one of the planned size at the requirement's; it is infinite if its computation alone takes longer.
    slo: in seconds.
    """
    here = requirement.here if costs.here is None else costs.here.at(size)
    more = 0.0 if costs.beyond is None else costs.beyond.at(size) - costs.beyond.at(planned)
    bits = requirement.bits if costs.bits is None else costs.bits.at(size)
    beyond = max(requirement.beyond + more, 0.0)
    least = requirement.min_bandwidth
    if least and requirement.bits:
        left = requirement.bits / least + requirement.here - here + requirement.beyond - beyond
        least = ceil(bits / left) if left > 0 else inf
    latency = requirement.latency + (here - requirement.here) + (beyond - requirement.beyond)
    alone = bandwidth_alone(least, latency, bits, slo) if least < inf else inf
    return replace(
        requirement,
        min_bandwidth=least,
        latency=latency,
        here=here,
        beyond=beyond,
        bits=bits,
        alone=alone if requirement.alone is not None else None,
    )
