"""Whether a service is idle: no entry node has its model loaded. Pure."""

from collections.abc import Mapping

from edge_api import Placement, reasons
from edge_api.inferenceservices import InferenceService
from edge_operator.conditions import Finding

_NAMED = 5


def idle_finding(service: InferenceService, placements: Mapping[str, Placement]) -> Finding | None:
    """Returns the condition Idle; None for a service that lets go of nothing. placements: by entry node."""
    after = service.spec.scaling.idle_after
    if after is None:
        return None
    idle = sorted(node for node, each in placements.items() if each.idle)
    if not placements or len(idle) < len(placements):
        some = f"; let go at {_listed(idle)}" if idle else ""
        message = f"loaded at {len(placements) - len(idle)} of {len(placements)} entry nodes{some}"
        return Finding(reasons.IDLE, "False", reasons.SESSIONS_LOADED, message)
    message = (
        f"no request for {after}: sessions are let go at {_listed(idle)}; the next request loads one there "
        f"from the disk{_took(placements)}"
    )
    return Finding(reasons.IDLE, "True", reasons.SESSIONS_RELEASED, message)


def _took(placements: Mapping[str, Placement]) -> str:
    """Returns how long the last first requests waited for that, if any did."""
    times = [each.status.load_time for each in placements.values() if each.status is not None]
    longest = max((time for time in times if time is not None), default=None)
    return f", which took {longest} at most the last time" if longest is not None else ""


def _listed(nodes: list[str]) -> str:
    rest = len(nodes) - _NAMED
    return ", ".join([*nodes[:_NAMED], *([f"and {rest} more"] if rest > 0 else [])])
